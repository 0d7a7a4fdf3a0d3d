// An extension on Go's standard library: notes its events and the telemetry that it is sent.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

var (
	api     = "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API")
	managed = os.Getenv("AWS_LAMBDA_INITIALIZATION_TYPE") == "lambda-managed-instances"
)

func note(text string) {
	if out := os.Getenv("OUT"); out != "" {
		file, err := os.OpenFile(out, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
		if err != nil {
			panic(err)
		}
		defer file.Close()
		fmt.Fprintln(file, text)
	} else {
		fmt.Println(text)
	}
}

func call(method, path, header, value string, body any) *http.Response {
	encoded, _ := json.Marshal(body)
	request, _ := http.NewRequest(method, api+path, bytes.NewReader(encoded))
	request.Header.Set(header, value)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	return answer
}

func receive(writer http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	var events []struct {
		Type   string
		Record json.RawMessage
	}
	if err := json.Unmarshal(body, &events); err != nil {
		writer.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, event := range events {
		switch event.Type {
		case "function":
			var line string
			if json.Unmarshal(event.Record, &line) != nil {
				line = string(event.Record)
			}
			note("go function " + line)
		case "platform.report":
			var report struct{ RequestID string }
			_ = json.Unmarshal(event.Record, &report)
			note("go report " + report.RequestID)
		}
	}
}

func main() {
	events, version := []string{"INVOKE", "SHUTDOWN"}, "2022-12-13"
	if managed {
		events, version = []string{"SHUTDOWN"}, "2025-01-29"
	}
	name := filepath.Base(os.Args[0])
	registered := call("POST", "/2020-01-01/extension/register", "Lambda-Extension-Name", name, map[string]any{"events": events})
	id := registered.Header.Get("Lambda-Extension-Identifier")

	address := "127.0.0.1"
	if found, err := net.LookupHost("sandbox.localdomain"); err == nil {
		address = found[0]
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, http.HandlerFunc(receive))
	subscribed := call("PUT", "/2022-07-01/telemetry", "Lambda-Extension-Identifier", id, map[string]any{
		"schemaVersion": version,
		"types":         []string{"platform", "function"},
		"destination":   map[string]string{"protocol": "HTTP", "URI": fmt.Sprintf("http://sandbox.localdomain:%d", listener.Addr().(*net.TCPAddr).Port)},
		"buffering":     map[string]int{"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 1000},
	})
	note(fmt.Sprint("go subscribed ", subscribed.StatusCode))
	for {
		var event struct{ EventType string }
		_ = json.NewDecoder(call("GET", "/2020-01-01/extension/event/next", "Lambda-Extension-Identifier", id, nil).Body).Decode(&event)
		note("go " + event.EventType)
		if event.EventType == "SHUTDOWN" {
			time.Sleep(300 * time.Millisecond) // what is still on its way
			return
		}
	}
}
