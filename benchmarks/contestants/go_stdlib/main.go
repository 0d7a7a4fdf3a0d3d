// An extension in Go on net/http and encoding/json: each event decoded to its envelope, then its record by type.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

type event struct {
	Time      time.Time       `json:"time"`
	Type      string          `json:"type"`
	RawRecord json.RawMessage `json:"record"`
	Record    any             `json:"-"`
}

type tracing struct {
	SpanID string `json:"spanId"`
	Type   string `json:"type"`
	Value  string `json:"value"`
}

type span struct {
	Name       string    `json:"name"`
	Start      time.Time `json:"start"`
	DurationMs float64   `json:"durationMs"`
}

type start struct {
	RequestID string  `json:"requestId"`
	Version   string  `json:"version"`
	Tracing   tracing `json:"tracing"`
}

type runtimeDone struct {
	RequestID string `json:"requestId"`
	Status    string `json:"status"`
	Metrics   struct {
		DurationMs    float64 `json:"durationMs"`
		ProducedBytes int     `json:"producedBytes"`
	} `json:"metrics"`
	Spans   []span  `json:"spans"`
	Tracing tracing `json:"tracing"`
}

type report struct {
	RequestID string `json:"requestId"`
	Status    string `json:"status"`
	Metrics   struct {
		DurationMs       float64 `json:"durationMs"`
		BilledDurationMs float64 `json:"billedDurationMs"`
		InitDurationMs   float64 `json:"initDurationMs"`
		MemorySizeMB     int     `json:"memorySizeMB"`
		MaxMemoryUsedMB  int     `json:"maxMemoryUsedMB"`
	} `json:"metrics"`
	Spans   []span  `json:"spans"`
	Tracing tracing `json:"tracing"`
}

func decode(body io.Reader, out chan<- event) error {
	decoder := json.NewDecoder(body)
	if _, err := decoder.Token(); err != nil {
		return err
	}
	for decoder.More() {
		var e event
		if err := decoder.Decode(&e); err != nil {
			return err
		}
		switch {
		case e.Type == "platform.start":
			e.Record = &start{}
		case e.Type == "platform.runtimeDone":
			e.Record = &runtimeDone{}
		case e.Type == "platform.report":
			e.Record = &report{}
		case e.RawRecord[0] == '"':
			e.Record = new(string)
		default:
			e.Record = &map[string]any{}
		}
		if err := json.Unmarshal(e.RawRecord, e.Record); err != nil {
			return err
		}
		out <- e
	}
	return nil
}

func main() {
	mode := os.Getenv("BENCH_MODE")
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API")
	var marks []int
	for _, mark := range strings.Split(os.Getenv("BENCH_MARKS"), ",") {
		if number, err := strconv.Atoi(mark); err == nil {
			marks = append(marks, number)
		}
	}

	identifier := ""
	call := func(method, path string, body any, into any) http.Header {
		sent := []byte{}
		if body != nil {
			sent, _ = json.Marshal(body)
		}
		request, err := http.NewRequest(method, base+path, bytes.NewReader(sent))
		if err != nil {
			log.Fatal(err)
		}
		if identifier == "" {
			request.Header.Set("Lambda-Extension-Name", "go-stdlib")
		} else {
			request.Header.Set("Lambda-Extension-Identifier", identifier)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			log.Fatal(err)
		}
		defer response.Body.Close()
		received, _ := io.ReadAll(response.Body)
		if into != nil {
			if err := json.Unmarshal(received, into); err != nil {
				log.Fatal(err)
			}
		}
		return response.Header
	}

	header := call("POST", "/2020-01-01/extension/register", map[string]any{"events": []string{"INVOKE", "SHUTDOWN"}}, nil)
	identifier = header.Get("Lambda-Extension-Identifier")

	events := make(chan event)
	finished := make(chan string, 1024)
	if mode != "idle" {
		host := os.Getenv("BENCH_LISTEN")
		if host == "" {
			host = "127.0.0.1"
		}
		listener, err := net.Listen("tcp", host+":0")
		if err != nil {
			log.Fatal(err)
		}
		go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := decode(r.Body, events); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}))
		go func() {
			count, length := 0, 0
			if mode == "stall" {
				select {}
			}
			for e := range events {
				count++
				switch record := e.Record.(type) {
				case *string:
					length += len(*record)
				case *map[string]any:
					length += len(*record)
				case *start:
					length += len(record.RequestID)
				case *runtimeDone:
					length += len(record.RequestID)
					if mode == "flush" {
						finished <- record.RequestID
					}
				case *report:
					length += len(record.RequestID)
				}
				if len(marks) > 0 && marks[0] == count {
					marks = marks[1:]
					fmt.Printf("mark %d %d\n", count, length)
				}
			}
		}()
		call("PUT", "/2022-07-01/telemetry", map[string]any{
			"schemaVersion": "2022-12-13",
			"types":         []string{"platform", "function"},
			"destination":   map[string]any{"protocol": "HTTP", "URI": "http://sandbox.localdomain:" + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)},
			"buffering":     map[string]any{"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 100},
		}, nil)
	}
	for {
		var next struct{ EventType, RequestID string }
		call("GET", "/2020-01-01/extension/event/next", nil, &next)
		if next.EventType == "SHUTDOWN" {
			return
		}
		for mode == "flush" && <-finished != next.RequestID {
		}
	}
}
