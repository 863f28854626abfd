// A Lambda function for the tests: it fails in the ways that functions fail. TRICK says how; records with the data `poison` are where.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

var trick = os.Getenv("TRICK")

func note(file, line string) {
	out, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	defer out.Close()
	fmt.Fprintln(out, line)
}

func isBroken() bool {
	_, err := os.Stat("broken")
	return err == nil
}

func handle(_ context.Context, event events.KinesisEvent) (events.KinesisEventResponse, error) {
	response := events.KinesisEventResponse{}
	for _, record := range event.Records {
		if string(record.Kinesis.Data) == "poison" {
			switch trick {
			case "partial":
				failure := events.KinesisBatchItemFailure{ItemIdentifier: record.Kinesis.SequenceNumber}
				response.BatchItemFailures = append(response.BatchItemFailures, failure)
				return response, nil
			case "raise":
				return response, errors.New("poison")
			case "panic":
				panic("poison")
			case "exit":
				os.Exit(7)
			case "hang":
				time.Sleep(1000 * time.Second)
			}
		}
		note("handled", strings.SplitN(record.EventID, ":", 2)[0]+" "+string(record.Kinesis.Data))
	}
	return response, nil
}

func main() {
	note("pids", fmt.Sprint(os.Getpid()))
	if isBroken() {
		switch trick {
		case "init":
			panic("no such module")
		case "slow-init":
			time.Sleep(1000 * time.Second)
		}
	}
	lambda.Start(handle)
}
