// Testcontainers for Go. Needs github.com/testcontainers/testcontainers-go and github.com/aws/aws-sdk-go-v2.
package orders

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

func TestWhatWasPutIsRead(t *testing.T) {
	ctx := context.Background()
	container, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Image:        "rokini:static",
			Cmd:          []string{"local", "--listen", "0.0.0.0", "--host-name", "*", "--stream", "orders:1"},
			ExposedPorts: []string{"4567/tcp", "8000/tcp"},
			WaitingFor:   wait.ForHTTP("/_rokini/health").WithPort("4567/tcp"),
		},
		Started: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = container.Terminate(ctx) }()
	url, err := container.PortEndpoint(ctx, "4567/tcp", "http")
	if err != nil {
		t.Fatal(err)
	}
	client := kinesis.New(kinesis.Options{
		BaseEndpoint: aws.String(url),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("local", "local", ""),
	})
	_, err = client.PutRecord(ctx, &kinesis.PutRecordInput{
		StreamName:   aws.String("orders"),
		PartitionKey: aws.String("k"),
		Data:         []byte("hello"),
	})
	if err != nil {
		t.Fatal(err)
	}
	iterator, err := client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName:        aws.String("orders"),
		ShardId:           aws.String("shardId-000000000000"),
		ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator.ShardIterator})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Records) != 1 || string(answer.Records[0].Data) != "hello" {
		t.Fatalf("%v", answer.Records)
	}
}
