// node examples/handlers/service.js 8080
// rokini run orders --group billing --handler http --url http://127.0.0.1:8080/
const server = require('http').createServer((request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const event = JSON.parse(Buffer.concat(parts));
    for (const record of event.Records) {
      console.log('billed', Buffer.from(record.kinesis.data, 'base64').toString()); // the work
    }
    response.writeHead(204).end();
  });
});
server.listen(Number(process.argv[2] ?? 8080), '127.0.0.1', () => console.log('listening at', server.address().port));
