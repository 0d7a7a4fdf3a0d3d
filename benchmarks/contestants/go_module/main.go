// The Go module aws-lambda-extensions, around a processor that counts events and the length of their records.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"

	"github.com/zakharovvi/aws-lambda-extensions/extapi"
	"github.com/zakharovvi/aws-lambda-extensions/telemetryapi"
)

type tally struct {
	count, length int
	marks         []int
	stalled       bool
}

func (t *tally) Init(context.Context, *extapi.RegisterResponse) error { return nil }

func (t *tally) Process(ctx context.Context, event telemetryapi.Event) error {
	if t.stalled {
		<-ctx.Done()
		return nil
	}
	t.count++
	switch record := event.Record.(type) {
	case telemetryapi.RecordFunction:
		t.length += len(record)
	case telemetryapi.RecordPlatformStart:
		t.length += len(record.RequestID)
	case telemetryapi.RecordPlatformRuntimeDone:
		t.length += len(record.RequestID)
	case telemetryapi.RecordPlatformReport:
		t.length += len(record.RequestID)
	}
	if len(t.marks) > 0 && t.marks[0] == t.count {
		t.marks = t.marks[1:]
		fmt.Printf("mark %d %d\n", t.count, t.length)
	}
	return nil
}

func (t *tally) Shutdown(context.Context, extapi.ShutdownReason, error) error { return nil }

func main() {
	t := &tally{stalled: os.Getenv("BENCH_MODE") == "stall"}
	for _, mark := range strings.Split(os.Getenv("BENCH_MARKS"), ",") {
		if number, err := strconv.Atoi(mark); err == nil {
			t.marks = append(t.marks, number)
		}
	}
	if err := telemetryapi.Run(context.Background(), t, telemetryapi.WithDestinationAddr("127.0.0.1:0")); err != nil {
		log.Fatal(err)
	}
}
