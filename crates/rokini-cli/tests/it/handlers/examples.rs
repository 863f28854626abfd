//! The programs in `examples/handlers`, each where its interpreter is there.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::support::put;
use crate::support::{Local, Member};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/handlers");

fn found(interpreter: &str, check: &[&str]) -> bool {
    let found = std::process::Command::new(interpreter).args(check).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        crate::skipped(format_args!("`{interpreter} {}` does not work here", check.join(" ")));
    }
    found
}

async fn bills_all(arguments: &[&str]) {
    let local = Local::start(1).await;
    let data = put(&local, 30).await;
    let mut command = local.rokini(&[&["run", "orders", "--group", "g"], arguments].concat());
    for name in ["PATH", "PYTHONPATH", "NODE_PATH"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let mut member = Member::spawn(command);
    let said = |member: &Member| data.iter().all(|data| member.stderr().contains(data));
    member.until("every record", said).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let shown = local.run(&["group", "show", "g", "--json"]).await.done();
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert!(shown["leases"][0]["position"].as_str().unwrap().starts_with("AFTER:"), "all is stored: {shown}");
}

#[tokio::test]
async fn programs_of_lines_bill_every_record() {
    for (interpreter, check, program) in [
        ("python3", &["-c", "1"][..], "bill.py"),
        ("node", &["-e", "1"], "bill.js"),
        ("sh", &["-c", "true"], "bill.sh"),
    ] {
        if found(interpreter, check) {
            let program = Path::new(EXAMPLES).join(program);
            bills_all(&["--handler", "lines", "--", interpreter, program.to_str().unwrap()]).await;
        }
    }
}

#[tokio::test]
async fn the_application_of_kclpy_bills_every_record() {
    if found("python3", &["-c", "import amazon_kclpy"]) {
        let program = Path::new(EXAMPLES).join("kcl_app.py");
        bills_all(&["--handler", "multilang", "--", "python3", program.to_str().unwrap()]).await;
    }
}

#[tokio::test]
async fn the_function_bills_every_record() {
    if found("python3", &["-c", "import awslambdaric"]) {
        let start = format!("cd {EXAMPLES} && exec python3 -m awslambdaric function.handler");
        bills_all(&["--handler", "lambda", "--", "sh", "-c", &start]).await;
    }
}

/// Node's runtime client is built by its installation; where it is not there, one in a few lines calls the same function.
const NODE_CLIENT: &str = r#"
const api = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/`;
const { handler } = require(process.argv[2]);
(async () => {
  for (;;) {
    const next = await fetch(api + 'next');
    const awsRequestId = next.headers.get('lambda-runtime-aws-request-id');
    const result = await handler(await next.json(), { awsRequestId });
    await fetch(`${api}${awsRequestId}/response`, { method: 'POST', body: JSON.stringify(result) });
  }
})();
"#;

#[tokio::test]
async fn functions_in_node_and_go_bill_every_record() {
    let folder = tempfile::tempdir().unwrap();
    if found("node", &["-e", "require.resolve('aws-lambda-ric')"]) {
        let start = format!(
            "cd {EXAMPLES} && exec node $(node -p \"require.resolve('aws-lambda-ric/bin/index.mjs')\") function.handler"
        );
        bills_all(&["--handler", "lambda", "--", "sh", "-c", &start]).await;
    } else if found("node", &["-e", "fetch"]) {
        let client = folder.path().join("client.js");
        std::fs::write(&client, NODE_CLIENT).unwrap();
        let (client, function) = (client.to_str().unwrap(), format!("{EXAMPLES}/function.js"));
        bills_all(&["--handler", "lambda", "--", "node", client, &function]).await;
    }
    if !found("go", &["version"]) {
        return;
    }
    let bootstrap = folder.path().join("bootstrap");
    let mut build = std::process::Command::new("go");
    build.args(["build", "-o"]).arg(&bootstrap).arg(".").current_dir(format!("{EXAMPLES}/go"));
    let built = build.output().unwrap();
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr).into_owned();
        return crate::skipped(format_args!("`go build` does not work here: {said}"));
    }
    bills_all(&["--handler", "lambda", "--", bootstrap.to_str().unwrap()]).await;
}

/// `.ci/clients.sh` builds it: its dependencies are those of another workspace.
#[tokio::test]
async fn the_function_in_rust_bills_every_record() {
    let Some(bootstrap) = std::env::var("RUST_FUNCTION").ok().filter(|path| !path.is_empty()) else {
        return crate::skipped("`RUST_FUNCTION` names no function built with lambda_runtime");
    };
    bills_all(&["--handler", "lambda", "--", &bootstrap]).await;
}

#[tokio::test]
async fn services_bill_every_record() {
    for (interpreter, check, program) in
        [("python3", &["-c", "1"][..], "service.py"), ("node", &["-e", "1"], "service.js")]
    {
        if !found(interpreter, check) {
            continue;
        }
        let mut service = tokio::process::Command::new(interpreter);
        service.arg(Path::new(EXAMPLES).join(program)).arg("0");
        service.stdout(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true);
        let mut service = service.spawn().unwrap();
        let mut lines = BufReader::new(service.stdout.take().unwrap()).lines();
        let listening = lines.next_line().await.unwrap().unwrap();
        let url = format!("http://127.0.0.1:{}/", listening.split(' ').next_back().unwrap());
        let local = Local::start(1).await;
        let mut data = put(&local, 30).await;
        let arguments = ["run", "orders", "--group", "g", "--handler", "http", "--url", &url];
        let mut member = Member::spawn(local.rokini(&arguments));
        while !data.is_empty() {
            let line = tokio::time::timeout(crate::support::LONGEST_WAIT, lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{} are missing\n{}", data.len(), member.stderr()));
            data.remove(line.unwrap().unwrap().trim_start_matches("billed "));
        }
        assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    }
}
