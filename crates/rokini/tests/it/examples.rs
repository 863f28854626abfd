//! The examples, built and run as programs; their output is what they promise.

use std::path::Path;
use std::process::Command;

fn output(example: &str) -> String {
    // The whole workspace's features, as `cargo test --workspace` has them: others would build the AWS crates anew.
    let build = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--workspace", "--example", example])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(build.status.success(), "{example} does not build: {}", String::from_utf8_lossy(&build.stderr));
    let deps = std::env::current_exe().unwrap();
    let built = deps.parent().and_then(Path::parent).unwrap().join("examples").join(example);
    let run = Command::new(built).output().unwrap();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{example} failed: {errors}");
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

#[test]
fn stream_gives_every_record_once_and_stores_what_was_acked() {
    assert_eq!(output("stream"), "records: ann bob cat dan\neverything stored: true\n");
}

#[test]
fn failure_policy_puts_the_poison_record_aside_and_goes_on_in_order() {
    assert_eq!(
        output("failure_policy"),
        "handled: [1, 2, 3, 5, 6]\neverything stored: true\nput aside: 1 record after 3 tries\n\
         in the file: 1 line, with the reason: true\n"
    );
}
