# rokini run orders --group billing --handler multilang -- python3 examples/handlers/kcl_app.py
# An application of amazon_kclpy; with its properties file: rokini run --properties app.properties
from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor


class Billing(processor.RecordProcessorBase):
    def initialize(self, start):
        pass

    def process_records(self, batch):
        for record in batch.records:
            self.log(record.binary_data.decode())  # the work
        batch.checkpointer.checkpoint()

    def lease_lost(self, _):
        pass

    def shard_ended(self, end):
        end.checkpointer.checkpoint()

    def shutdown_requested(self, stop):
        stop.checkpointer.checkpoint()

    def log(self, data):
        import sys

        print("billed", data, file=sys.stderr)


kcl.KCLProcess(Billing()).run()
