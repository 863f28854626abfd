# rokini run orders --group billing --handler lambda -- python3 -m awslambdaric function.handler
import base64


def handler(event, context):
    for record in event["Records"]:
        kinesis = record["kinesis"]
        try:
            print("billed", base64.b64decode(kinesis["data"]).decode())  # the work
        except Exception as error:
            print(context.aws_request_id, error)
            # This record, and all after it, come again.
            return {"batchItemFailures": [{"itemIdentifier": kinesis["sequenceNumber"]}]}
    return {"batchItemFailures": []}
