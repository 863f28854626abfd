//! What launchers and properties files of KCL applications say, beyond what the applications themselves need.

use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::support::{put, python, run, until_handled, until_none_runs};
use crate::support::{Local, Member};

#[tokio::test]
async fn m2_multilang_is_another_word_for_the_handler() {
    let Some(python) = python("json") else { return };
    let local = Local::start(1).await;
    super::kcl::write(&local);
    let data = put(&local, 20).await;
    let mut member = run(&local, &python, "w", &["--multilang"], &["-u", "app.py"], &[]);
    until_handled(&local, &member, &data).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    until_none_runs(&local).await;
    let both = ["run", "orders", "-g", "g", "--multilang", "--handler", "lines", "--", "sh"];
    local.run(&both).await.refused(2, &["--multilang", "cannot be used with", "--handler"]);
}

/// Empty files by the names of the jars that `kcl-bootstrap` wants: it downloads those that are missing, and nobody reads them.
const JARS: &str = r#"
const fs = require('fs'), path = require('path');
const folder = path.dirname(require.resolve('aws-kcl/package.json'));
const pom = fs.readFileSync(path.join(folder, 'pom.xml'), 'utf8').replace(/<!--[^]*?-->/g, '');
const one = (text, name) => (text.match(new RegExp(`<${name}>([^<]*)</${name}>`)) || [])[1];
for (const [dependency] of pom.matchAll(/<dependency>[^]*?<\/dependency>/g)) {
  const version = one(dependency, 'version').replace(/^\$\{(.*)\}$/, (_, name) => one(pom, name));
  fs.writeFileSync(path.join('jars', `${one(dependency, 'artifactId')}-${version}.jar`), '');
}
console.log(path.join(folder, 'bin', 'kcl-bootstrap'));
"#;

/// The launcher that aws-kcl brings, as it is.
#[tokio::test]
async fn m2_the_launcher_of_aws_kcl_starts_it_in_place_of_java() {
    let Some(node) = super::aws_kcl::node() else { return };
    let local = Local::start(1).await;
    let home = local.home();
    std::fs::write(home.join("app.js"), super::aws_kcl::NODE).unwrap();
    std::fs::create_dir(home.join("jars")).unwrap();
    let properties = format!(
        "executableName = {} app.js\nstreamName = orders\napplicationName = g\ninitialPositionInStream = TRIM_HORIZON\n\
         AwsCredentialsProvider = DefaultCredentialsProvider\n",
        node.display()
    );
    std::fs::write(home.join("app.properties"), properties).unwrap();
    let jars = std::process::Command::new(&node).args(["-e", JARS]).current_dir(home).output().unwrap();
    assert!(jars.status.success(), "{jars:?}");
    let rokini = local.rokini(&[]);
    std::os::unix::fs::symlink(rokini.as_std().get_program(), home.join("java")).unwrap();
    let mut command = tokio::process::Command::new(&node);
    command.arg(String::from_utf8(jars.stdout).unwrap().trim());
    command.args(["--java", "./java", "--properties", "app.properties", "--jar-path", "jars", "--execute"]);
    let of_rokini = rokini.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(of_rokini).current_dir(home).kill_on_drop(true);
    command.envs(std::env::var_os("NODE_PATH").map(|value| ("NODE_PATH", value)));
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let data = put(&local, 20).await;
    command.stderr(std::process::Stdio::piped());
    let mut launcher = Member::spawn(command);
    until_handled(&local, &launcher, &data).await;
    let pid = launcher.id().as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let daemon = children.trim().parse().ok().and_then(Pid::from_raw).unwrap();
    kill_process(daemon, Signal::TERM).unwrap();
    assert_eq!(launcher.ended().await, Some(0), "{}", launcher.stderr());
    assert!(launcher.stderr().contains("stopped: "), "{}", launcher.stderr());
    until_none_runs(&local).await;
}

/// What launchers do with a JVM before and when they start the daemon.
#[tokio::test]
async fn m2_a_link_named_java_has_a_version_and_says_which_options_do_not_act() {
    let local = Local::start(1).await;
    let rokini = local.rokini(&[]);
    std::os::unix::fs::symlink(rokini.as_std().get_program(), local.home().join("java")).unwrap();
    let java = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new("./java");
        command.args(arguments).env_clear().current_dir(local.home()).stdin(std::process::Stdio::null());
        command.envs(rokini.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
        crate::support::Ended::of(command).await
    };
    let version = java(&["-version"]).await;
    assert_eq!((version.status, version.stdout.as_str()), (Some(0), ""), "{version:?}");
    assert!(version.stderr.starts_with("java version \"17."), "{version:?}");
    assert_eq!(java(&["--version"]).await.done(), version.stderr);

    let properties = "executableName = /bin/sh\nstreamName = orders\napplicationName = g\n";
    std::fs::write(local.home().join("app.properties"), properties).unwrap();
    let class = "software.amazon.kinesis.multilang.MultiLangDaemon";
    let options = ["-Xmx256m", "-Daws.secretKey=hush", "-Daws.region=eu-west-1", "-cp", "x.jar"];
    let daemon = java(&[&options[..], &[class, "--properties-file", "app.properties"]].concat()).await;
    assert!(!daemon.stderr.contains("hush"), "{daemon:?}");
    // In that region there is no such stream.
    daemon.refused(
        2,
        &["options of Java that have no effect here: `-Xmx256m`", "`-Daws.secretKey` (set", "eu-west-1"],
    );
}

const ASSUMED: &str = r#"<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn:aws:sts::000000000000:assumed-role/reader/billing</Arn><AssumedRoleId>AROA:billing</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASIAOFTHEROLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"#;

/// An STS that gives everybody the role. What it was asked.
async fn security_token_service() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut request, mut part) = (String::new(), [0; 4096]);
            // The body is one line, and it has the action in it.
            while !request.contains("Action=AssumeRole") {
                let length = stream.read(&mut part).await.unwrap();
                assert!(length > 0, "{request}");
                request.push_str(std::str::from_utf8(&part[..length]).unwrap());
            }
            noted.lock().unwrap().push(request);
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{ASSUMED}",
                ASSUMED.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, asked)
}

async fn access_keys_of_calls(endpoint: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(endpoint.trim_start_matches("http://")).await.unwrap();
    let request = "GET /_rokini/calls HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// `StsAssumeRoleCredentialsProvider`: the calls are those of the role, which is assumed with the credentials of the environment.
#[tokio::test]
async fn m2_a_role_is_assumed_as_the_properties_say() {
    let Some(python) = python("json") else { return };
    let local = Local::start(1).await;
    super::kcl::write(&local);
    let data = put(&local, 20).await;
    let (url, asked) = security_token_service().await;
    let start = |provider: &str| {
        let properties = format!(
            "executableName = {} -u app.py\nstreamName = orders\napplicationName = g\ninitialPositionInStream = TRIM_HORIZON\n\
             AwsCredentialsProvider = {provider}\n",
            python.display()
        );
        std::fs::write(local.home().join("app.properties"), properties).unwrap();
        local.rokini(&["run", "--properties", "app.properties"])
    };
    let role = "arn:aws:iam::000000000000:role/reader|billing";
    let mut member = Member::spawn(start(&format!(
        "StsAssumeRoleCredentialsProvider|{role}|externalId=of-billing|endpoint={url}^eu-west-1"
    )));
    until_handled(&local, &member, &data).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());
    let asked = asked.lock().unwrap().clone();
    let whole = asked.first().expect("STS is asked");
    for part in [
        "RoleSessionName=billing",
        "ExternalId=of-billing",
        "role%2Freader",
        "Credential=local/",
        "/eu-west-1/sts/",
    ] {
        assert!(whole.contains(part), "{part}: {whole}");
    }
    let calls = access_keys_of_calls(&local.kinesis.endpoint_url()).await;
    assert!(calls.contains("ASIAOFTHEROLE"), "{calls}");

    // One that there is, and one that has nothing here: the chain goes on.
    let mut member = Member::spawn(start(
        "WebIdentityTokenFileCredentialsProvider, EnvironmentVariableCredentialsProvider",
    ));
    member.until("a shard", |member| member.stderr().contains("started at")).await;
    assert_eq!(member.stop().await, Some(0), "{}", member.stderr());

    let refused = start("ProcessCredentialsProvider");
    crate::support::Ended::of(refused)
        .await
        .refused(2, &["credential_process", "ProfileCredentialsProvider|NAME"]);
}
