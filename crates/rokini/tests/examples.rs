//! The examples, built and run as programs; their output is what they promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a test")]

use std::process::Command;

fn output(example: &str) -> String {
    let run = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "rokini", "--example", example])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let talk = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{example} failed: {talk}");
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn print_says_what_the_documented_example_says() {
    assert_eq!(output("print"), "Checkpointer initializing\nfoo\nPrintRecordConsumer Shutdown\n");
}

#[test]
fn manual_checkpoint_flushes_whole_bundles_and_the_rest_at_the_stop() {
    assert_eq!(
        output("manual_checkpoint"),
        "flushed a b c\nflushed d e f\nstored a sequence number while it ran: true\nflushed g\n\
         everything stored: true\n"
    );
}

#[test]
fn closure_sees_every_record_by_record_and_by_batch() {
    assert_eq!(output("closure"), "records: ann bob cat dan\nbatches: 4 records from 2 shards\n");
}
