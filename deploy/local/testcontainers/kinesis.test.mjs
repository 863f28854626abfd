// Testcontainers for Node. Needs testcontainers and @aws-sdk/client-kinesis: `node --test`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  GetRecordsCommand, GetShardIteratorCommand, KinesisClient, PutRecordCommand,
} from '@aws-sdk/client-kinesis';
import { GenericContainer, Wait } from 'testcontainers';

test('what was put is read', async () => {
  const container = await new GenericContainer('rokini:static')
    .withCommand(['local', '--listen', '0.0.0.0', '--host-name', '*', '--stream', 'orders:1'])
    .withExposedPorts(4567, 8000)
    .withWaitStrategy(Wait.forHttp('/_rokini/health', 4567))
    .start();
  try {
    const client = new KinesisClient({
      endpoint: `http://${container.getHost()}:${container.getMappedPort(4567)}`,
      region: 'us-east-1',
      credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
    });
    await client.send(new PutRecordCommand({
      StreamName: 'orders', PartitionKey: 'k', Data: new TextEncoder().encode('hello'),
    }));
    const { ShardIterator } = await client.send(new GetShardIteratorCommand({
      StreamName: 'orders', ShardId: 'shardId-000000000000', ShardIteratorType: 'TRIM_HORIZON',
    }));
    const { Records } = await client.send(new GetRecordsCommand({ ShardIterator }));
    assert.deepEqual(Records.map((record) => new TextDecoder().decode(record.Data)), ['hello']);
  } finally {
    await container.stop();
  }
});
