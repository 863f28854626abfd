// rokini run orders --group billing --handler lambda -- npx aws-lambda-ric function.handler
exports.handler = async (event, context) => {
  for (const { kinesis } of event.Records) {
    try {
      console.log('billed', Buffer.from(kinesis.data, 'base64').toString()); // the work
    } catch (error) {
      console.error(context.awsRequestId, error);
      // This record, and all after it, come again.
      return { batchItemFailures: [{ itemIdentifier: kinesis.sequenceNumber }] };
    }
  }
  return { batchItemFailures: [] };
};
