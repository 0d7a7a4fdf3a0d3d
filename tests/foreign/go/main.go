// A function on the Go runtime's own client, which registers an internal extension to be sent SIGTERM.
package main

import (
	"context"
	"fmt"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func handle(ctx context.Context, event map[string]any) (map[string]any, error) {
	info, _ := lambdacontext.FromContext(ctx)
	deadline, _ := ctx.Deadline()
	fmt.Println("go handles", info.AwsRequestID)
	return map[string]any{"requestId": info.AwsRequestID, "deadline": deadline.UnixMilli(), "event": event}, nil
}

func main() {
	lambda.StartWithOptions(handle, lambda.WithEnableSIGTERM(func() { fmt.Println("go terminated") }))
}
