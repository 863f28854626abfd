// Reads the `data` of JSON objects from standard input as the KCL 3.1.3 does, and writes what they hold.
//
//     java -cp 'lib/*' ReadAggregates.java

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.Base64;
import java.util.List;
import java.util.stream.Collectors;
import software.amazon.kinesis.retrieval.AggregatorUtil;
import software.amazon.kinesis.retrieval.KinesisClientRecord;

class ReadAggregates {
    static String quoted(String text) {
        return text == null ? "null" : "\"" + text + "\"";
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; ) {
            byte[] data = Base64.getDecoder().decode(line.replaceAll(".*\"data\": ?\"([^\"]*)\", \"records\".*", "$1"));
            KinesisClientRecord outer =
                KinesisClientRecord.builder().data(ByteBuffer.wrap(data)).partitionKey("outer").sequenceNumber("1").build();
            System.out.println(new AggregatorUtil().deaggregate(List.of(outer)).stream()
                .map(record -> {
                    byte[] inner = new byte[record.data().remaining()];
                    record.data().get(inner);
                    return String.format("{\"key\": %s, \"hash_key\": %s, \"data\": \"%s\"}", quoted(record.partitionKey()),
                        quoted(record.explicitHashKey()), Base64.getEncoder().encodeToString(inner));
                })
                .collect(Collectors.joining(", ", "{\"records\": [", "]}")));
        }
    }
}
