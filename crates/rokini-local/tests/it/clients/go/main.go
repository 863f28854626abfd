// What a program with the AWS SDK for Go does with a stream, configured by the environment alone.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

func check(holds bool, told ...any) {
	if !holds {
		log.Fatal(told...)
	}
}

func must[T any](value T, err error) T {
	check(err == nil, err)
	return value
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := kinesis.NewFromConfig(must(config.LoadDefaultConfig(ctx)))
	name := aws.String("orders")
	must(client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: name, ShardCount: aws.Int32(1)}))
	waiter := kinesis.NewStreamExistsWaiter(client)
	check(waiter.Wait(ctx, &kinesis.DescribeStreamInput{StreamName: name}, 30*time.Second) == nil, "it does not exist")

	var expected [][]byte
	var records []types.PutRecordsRequestEntry
	for i := range 10 {
		expected = append(expected, []byte{byte(i), 0, 255})
		records = append(records, types.PutRecordsRequestEntry{Data: expected[i], PartitionKey: aws.String("clé-" + strconv.Itoa(i))})
	}
	before := time.Now().Add(-5 * time.Second)
	put := must(client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: name, Records: records}))
	check(*put.FailedRecordCount == 0, put)
	shard := aws.String("shardId-000000000000")
	must(client.SplitShard(ctx, &kinesis.SplitShardInput{
		StreamName: name, ShardToSplit: shard, NewStartingHashKey: aws.String("170141183460469231731687303715884105728"),
	}))
	at := must(client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: name, ShardId: shard, ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: &before,
	})).ShardIterator
	var read [][]byte
	var children []types.ChildShard
	for at != nil {
		page := must(client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: at, Limit: aws.Int32(4)}))
		for _, record := range page.Records {
			read = append(read, record.Data)
			check(record.ApproximateArrivalTimestamp.Sub(before).Abs() < 10*time.Minute, record)
		}
		at, children = page.NextShardIterator, page.ChildShards
	}
	check(equal(read, expected), read)
	check(len(children) == 2, children)

	arn := must(client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: name})).StreamDescriptionSummary.StreamARN
	consumer := must(client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: arn, ConsumerName: aws.String("c")}))
	pushed, last := subscribe(ctx, client, consumer.Consumer.ConsumerARN, shard)
	check(equal(pushed, expected), pushed)
	check(len(last.ChildShards) == 2, last)

	_, err := client.DescribeStream(ctx, &kinesis.DescribeStreamInput{StreamName: aws.String("nope")})
	var absent *types.ResourceNotFoundException
	check(errors.As(err, &absent), err)
	fmt.Println("ok")
}

// What is pushed of a closed shard, and the last event.
func subscribe(ctx context.Context, client *kinesis.Client, consumer, shard *string) ([][]byte, types.SubscribeToShardEvent) {
	subscription := must(client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: consumer, ShardId: shard,
		StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon},
	}))
	stream := subscription.GetStream()
	defer stream.Close()
	var pushed [][]byte
	var last types.SubscribeToShardEvent
	for event := range stream.Events() {
		if event, ok := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent); ok {
			last = event.Value
			for _, record := range last.Records {
				pushed = append(pushed, record.Data)
			}
		}
	}
	check(stream.Err() == nil, stream.Err())
	return pushed, last
}

func equal(a, b [][]byte) bool {
	return bytes.Equal(bytes.Join(a, []byte("|")), bytes.Join(b, []byte("|")))
}
