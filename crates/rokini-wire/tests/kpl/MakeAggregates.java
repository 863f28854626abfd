// Random aggregates by amazon-kinesis-aggregator 1.0.3 of Maven, a JSON object each.
//
//     java -cp 'lib/*' MakeAggregates.java SEED
//
// It gives every user record an explicit hash key: the hash of the partition key where it got none.

import com.amazonaws.kinesis.agg.RecordAggregator;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.Random;

class MakeAggregates {
    public static void main(String[] arguments) throws Exception {
        Base64.Encoder base64 = Base64.getEncoder();
        for (int number = 0; number < 6; number++) {
            Random random = new Random(Long.parseLong(arguments[0]) * 1000 + number);
            RecordAggregator aggregator = new RecordAggregator();
            StringBuilder records = new StringBuilder();
            for (int left = 2 + random.nextInt(24); left > 0; left--) {
                String key = new String[] {"a", "b" + random.nextInt(4), "gr\u00fcn", "x".repeat(256)}[random.nextInt(4)];
                String hashKey = random.nextInt(2) == 0 ? null : new BigInteger(128, random).toString();
                byte[] data = new byte[new int[] {0, 1, 7, 100, 127, 128, 300}[random.nextInt(7)]];
                random.nextBytes(data);
                if (aggregator.addUserRecord(key, hashKey, data) != null) throw new IllegalStateException("it is full");
                byte[] hash = MessageDigest.getInstance("MD5").digest(key.getBytes(StandardCharsets.UTF_8));
                String known = hashKey != null ? hashKey : new BigInteger(1, hash).toString();
                records.append(records.length() == 0 ? "" : ", ").append(String.format(
                    "{\"key\": \"%s\", \"hash_key\": \"%s\", \"data\": \"%s\"}", key, known, base64.encodeToString(data)));
            }
            String data = base64.encodeToString(aggregator.clearAndGet().toRecordBytes());
            System.out.printf("{\"by\": \"amazon-kinesis-aggregator of Maven\", \"data\": \"%s\", \"records\": [%s]}%n", data, records);
        }
    }
}
