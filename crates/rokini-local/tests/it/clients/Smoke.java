// What a program with the AWS SDK for Java does with a stream. It speaks CBOR, and HTTP/2 with prior knowledge for fan-out.

import java.math.BigInteger;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.*;

class Smoke {
    static final Set<String> CONTENT_TYPES = new TreeSet<>();

    static final ExecutionInterceptor LISTENER = new ExecutionInterceptor() {
        @Override
        public void beforeTransmission(Context.BeforeTransmission context, ExecutionAttributes attributes) {
            context.httpRequest().firstMatchingHeader("Content-Type").ifPresent(CONTENT_TYPES::add);
        }
    };

    public static void main(String[] arguments) throws Exception {
        try (KinesisClient kinesis = KinesisClient.builder()
                .overrideConfiguration(o -> o.addExecutionInterceptor(LISTENER)).build();
             KinesisAsyncClient pushing = KinesisAsyncClient.create()) {
            List<SdkBytes> read = putAndRead(kinesis);
            push(kinesis, pushing, read);
            refusals(kinesis);
            check(CONTENT_TYPES.equals(Set.of("application/x-amz-cbor-1.1")), CONTENT_TYPES);
        }
        System.out.println("ok");
    }

    static List<SdkBytes> putAndRead(KinesisClient kinesis) {
        kinesis.createStream(r -> r.streamName("orders").shardCount(1));
        kinesis.waiter().waitUntilStreamExists(r -> r.streamName("orders"));
        Instant before = Instant.now().minusSeconds(5);
        List<PutRecordsRequestEntry> entries = IntStream.range(0, 10)
                .mapToObj(i -> PutRecordsRequestEntry.builder().partitionKey("clé-" + i)
                        .data(SdkBytes.fromByteArray(new byte[] {(byte) i, 0, (byte) 255})).build())
                .toList();
        PutRecordsResponse put = kinesis.putRecords(r -> r.streamName("orders").records(entries));
        check(put.failedRecordCount() == 0, put);

        Shard shard = kinesis.listShards(r -> r.streamName("orders")).shards().get(0);
        kinesis.splitShard(r -> r.streamName("orders").shardToSplit(shard.shardId())
                .newStartingHashKey(BigInteger.TWO.pow(127).toString()));
        String iterator = kinesis.getShardIterator(r -> r.streamName("orders").shardId(shard.shardId())
                .shardIteratorType(ShardIteratorType.AT_TIMESTAMP).timestamp(before)).shardIterator();
        List<SdkBytes> data = new ArrayList<>();
        GetRecordsResponse last = null;
        while (iterator != null) {
            String at = iterator;
            last = kinesis.getRecords(r -> r.shardIterator(at).limit(4));
            for (software.amazon.awssdk.services.kinesis.model.Record record : last.records()) {
                data.add(record.data());
                Duration off = Duration.between(before, record.approximateArrivalTimestamp()).abs();
                check(off.compareTo(Duration.ofMinutes(10)) < 0, record);
            }
            iterator = last.nextShardIterator();
        }
        check(data.equals(entries.stream().map(PutRecordsRequestEntry::data).toList()), data);
        check(last.childShards().size() == 2, last);
        return data;
    }

    static void push(KinesisClient kinesis, KinesisAsyncClient pushing, List<SdkBytes> expected) throws Exception {
        String arn = kinesis.describeStreamSummary(r -> r.streamName("orders")).streamDescriptionSummary().streamARN();
        String consumer = kinesis.registerStreamConsumer(r -> r.streamARN(arn).consumerName("c")).consumer().consumerARN();
        List<SdkBytes> pushed = new ArrayList<>();
        List<ChildShard> children = new ArrayList<>();
        SubscribeToShardResponseHandler handler = SubscribeToShardResponseHandler.builder()
                .subscriber(SubscribeToShardResponseHandler.Visitor.builder().onSubscribeToShardEvent(event -> {
                    event.records().forEach(record -> pushed.add(record.data()));
                    children.addAll(event.childShards());
                }).build())
                .build();
        pushing.subscribeToShard(r -> r.consumerARN(consumer).shardId("shardId-000000000000")
                .startingPosition(p -> p.type(ShardIteratorType.TRIM_HORIZON)), handler).get(30, TimeUnit.SECONDS);
        check(pushed.equals(expected), pushed);
        check(children.size() == 2, children);
    }

    static void refusals(KinesisClient kinesis) {
        try {
            kinesis.describeStream(r -> r.streamName("nope"));
            check(false, "a stream that is not there is described");
        } catch (ResourceNotFoundException error) {
            check(error.requestId() != null && error.getMessage().contains("nope"), error);
        }
        try {
            kinesis.createStream(r -> r.streamName("orders").shardCount(1));
            check(false, "a stream is created twice");
        } catch (ResourceInUseException error) {
            check(error.statusCode() == 400, error);
        }
    }

    static void check(boolean holds, Object told) {
        if (!holds) throw new AssertionError(told);
    }
}
