// A Lambda function for Kinesis, as it stands in Lambda: `go build -o bootstrap .`, then
// `rokini run orders --group billing --handler lambda -- ./bootstrap`.
package main

import (
	"context"
	"fmt"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

func bill(data []byte) error {
	fmt.Printf("billed %s\n", data)
	return nil
}

func handle(_ context.Context, event events.KinesisEvent) (events.KinesisEventResponse, error) {
	for _, record := range event.Records {
		if err := bill(record.Kinesis.Data); err != nil {
			// This one and all after it come again.
			failure := events.KinesisBatchItemFailure{ItemIdentifier: record.Kinesis.SequenceNumber}
			return events.KinesisEventResponse{BatchItemFailures: []events.KinesisBatchItemFailure{failure}}, nil
		}
	}
	return events.KinesisEventResponse{}, nil
}

func main() {
	lambda.Start(handle)
}
