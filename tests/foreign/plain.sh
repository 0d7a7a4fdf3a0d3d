#!/bin/sh
# An extension in shell and curl: registers, asks for events, says what it gets.
set -eu
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
id=$(curl -sS -X POST "$api/register" -H "Lambda-Extension-Name: ${0##*/}" -d '{"events":["INVOKE","SHUTDOWN"]}' \
  -D - -o /dev/null | tr -d '\r' | sed -n 's/^[Ll]ambda-[Ee]xtension-[Ii]dentifier: //p')
while true; do
  event=$(curl -sS "$api/event/next" -H "Lambda-Extension-Identifier: $id")
  case $event in
    *INVOKE*) echo "invoked" ;;
    *SHUTDOWN*) echo "shut down"; exit 0 ;;
  esac
done
