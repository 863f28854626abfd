// Testcontainers for Java. Needs org.testcontainers:testcontainers, software.amazon.awssdk:kinesis and JUnit 5.
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.net.URI;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.testcontainers.containers.GenericContainer;
import org.testcontainers.containers.wait.strategy.Wait;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.kinesis.KinesisClient;
import software.amazon.awssdk.services.kinesis.model.Record;
import software.amazon.awssdk.services.kinesis.model.ShardIteratorType;

class KinesisTest {
    @Test
    void whatWasPutIsRead() {
        try (GenericContainer<?> kinesis = new GenericContainer<>("rokini:static")
                .withCommand("local", "--listen", "0.0.0.0", "--host-name", "*", "--stream", "orders:1")
                .withExposedPorts(4567, 8000)
                .waitingFor(Wait.forHttp("/_rokini/health").forPort(4567))) {
            kinesis.start();
            String url = "http://" + kinesis.getHost() + ":" + kinesis.getMappedPort(4567);
            KinesisClient client = KinesisClient.builder()
                    .endpointOverride(URI.create(url))
                    .region(Region.US_EAST_1)
                    .credentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("local", "local")))
                    .build();
            SdkBytes data = SdkBytes.fromUtf8String("hello");
            client.putRecord(put -> put.streamName("orders").partitionKey("k").data(data));
            String iterator = client.getShardIterator(get -> get.streamName("orders")
                    .shardId("shardId-000000000000")
                    .shardIteratorType(ShardIteratorType.TRIM_HORIZON)).shardIterator();
            List<Record> records = client.getRecords(get -> get.shardIterator(iterator)).records();
            assertEquals("hello", records.get(0).data().asUtf8String());
        }
    }
}
