// rokini run orders --group billing --handler lines -- node examples/handlers/bill.js
const lines = require('readline').createInterface({ input: process.stdin });

lines.on('line', (line) => {
  const record = JSON.parse(line);
  console.error('billed', record.data ?? record.data_base64); // the work
  console.log(record.token);
});
