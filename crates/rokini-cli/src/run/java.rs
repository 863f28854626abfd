//! The command line of the KCL's Java daemon, for launchers that know nothing else.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The end of the name of the class that a launcher starts.
const DAEMON: &str = "MultiLangDaemon";
/// Options of the JVM whose value is the next word.
const WITH_VALUE: [&str; 9] = [
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--add-modules",
    "--add-opens",
    "--add-exports",
    "--add-reads",
];
/// What stands in for `java` names a version that the KCL runs with: launchers look for the number between the quotes.
const VERSION: &str = concat!(
    "java version \"17.0.0\"\nrokini ",
    env!("CARGO_PKG_VERSION"),
    " in place of Java: it starts the MultiLangDaemon of the KCL, without a JVM, and nothing else\n"
);

/// What a launcher wants that calls this program in place of `java`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JavaCommand {
    /// To know the version: the text, on standard error unless `stdout`.
    Version { text: &'static str, stdout: bool },
    /// To start the MultiLang daemon.
    Daemon(Translated),
}

/// Arguments that start the MultiLang daemon, as those of this program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Translated {
    pub(crate) arguments: Vec<OsString>,
    /// What is to be said of options of the JVM that do not act.
    pub(crate) warning: Option<String>,
}

/// What arguments mean that are those of `java`. `None` for all other arguments.
pub(crate) fn java_command(own_name: &OsStr, arguments: &[OsString]) -> Option<JavaCommand> {
    let version = |stdout| Some(JavaCommand::Version { text: VERSION, stdout });
    let is_java = Path::new(own_name).file_stem() == Some(OsStr::new("java"));
    match arguments {
        [only] if only == "-version" => return version(false),
        [only] if only == "--version" && is_java => return version(true),
        _ => {}
    }
    let is_daemon = |argument: &OsString| {
        let argument = argument.to_string_lossy();
        argument.ends_with(DAEMON) && !argument.starts_with('-')
    };
    let class = arguments.iter().position(is_daemon)?;
    let options = JvmOptions::read(&arguments[..class])?;
    let mut translated: Vec<OsString> = vec!["run".into()];
    if let Some(properties) = properties_file(&arguments[class + 1..]) {
        translated.extend(["--properties".into(), properties]);
    }
    if let Some(region) = &options.region {
        translated.extend(["--region-unless-set".into(), region.into()]);
    }
    Some(JavaCommand::Daemon(Translated { arguments: translated, warning: options.warning() }))
}

fn properties_file(arguments: &[OsString]) -> Option<OsString> {
    let mut properties = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.to_string_lossy().as_ref() {
            "--properties-file" | "-p" => properties = rest.next().cloned(),
            // Logs go to standard error, at a level of `RUST_LOG`.
            "--log-configuration" | "-l" => drop(rest.next()),
            _ => {
                properties.get_or_insert_with(|| argument.clone());
            }
        }
    }
    properties
}

/// The options in front of the class.
#[derive(Debug, Default)]
struct JvmOptions {
    /// `aws.region`: where neither the properties nor anything of this program's says one.
    region: Option<String>,
    /// Those that do not act, without their values, which may be secrets, each with what acts in its place.
    ineffective: Vec<String>,
}

impl JvmOptions {
    /// `None` where a word is neither an option nor the value of one.
    fn read(words: &[OsString]) -> Option<Self> {
        let mut options = Self::default();
        let mut words = words.iter().map(|word| word.to_string_lossy());
        while let Some(option) = words.next() {
            if !option.starts_with('-') {
                return None;
            }
            if WITH_VALUE.contains(&option.as_ref()) {
                words.next();
            } else if let Some(region) = option.strip_prefix("-Daws.region=") {
                options.region = Some(region.to_owned());
            } else if let Some(property) = option.strip_prefix("-D") {
                let name = property.split_once('=').map_or(property, |(name, _)| name);
                options.ineffective.push(format!("`-D{name}` ({})", in_its_place(name)));
            } else if option.starts_with("-X") {
                options.ineffective.push(format!("`{option}` (there is no JVM)"));
            }
        }
        Some(options)
    }

    fn warning(&self) -> Option<String> {
        let list = self.ineffective.join(", ");
        (!list.is_empty()).then(|| format!("options of Java that have no effect here: {list}"))
    }
}

/// What does the same as a system property.
fn in_its_place(property: &str) -> &'static str {
    let begins_with = |starts: &[&str]| starts.iter().any(|start| property.starts_with(start));
    if begins_with(&["aws.accessKeyId", "aws.secret", "aws.sessionToken"]) {
        "set `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`"
    } else if begins_with(&["aws."]) {
        "set the variable of the AWS SDKs, such as `AWS_PROFILE`"
    } else if begins_with(&["logback.", "log4j", "org.slf4j.", "java.util.logging."]) {
        "`RUST_LOG` has the levels of the log"
    } else if begins_with(&["http.proxy", "https.proxy", "http.nonProxyHosts"]) {
        "set `HTTPS_PROXY` and `NO_PROXY`"
    } else {
        "there is no JVM"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(own_name: &str, line: &str) -> Option<JavaCommand> {
        let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        java_command(OsStr::new(own_name), &words)
    }

    #[test]
    fn m2_the_command_of_a_launcher_is_understood() {
        let translate = |line: &str| match command("rokini", line)? {
            JavaCommand::Daemon(Translated { arguments, warning: _ }) => {
                Some(arguments.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" "))
            }
            other => panic!("{other:?}"),
        };
        let class = "software.amazon.kinesis.multilang.MultiLangDaemon";
        for (line, translated) in [
            (
                format!("-cp a.jar:b.jar:/app {class} --properties-file app.properties"),
                "run --properties app.properties",
            ),
            (format!("-Xmx256m -cp x {class} -p a --log-configuration logback.xml"), "run --properties a"),
            (format!("-cp x {class} a.properties"), "run --properties a.properties"),
            (format!("-cp x {class} -l l.xml -p a"), "run --properties a"),
            (format!("-cp x {class}"), "run"),
            (format!("--add-opens java.base/java.lang=ALL-UNNAMED -cp x {class} a"), "run --properties a"),
            (format!("-Daws.region=eu-west-1 {class} a"), "run --properties a --region-unless-set eu-west-1"),
        ] {
            assert_eq!(translate(&line).as_deref(), Some(translated), "{line}");
        }
        for line in
            ["run orders --group g", "put orders MultiLangDaemon", "consume orders -g MultiLangDaemon"]
        {
            assert_eq!(translate(line), None, "{line}");
        }
    }

    #[test]
    fn o14_options_of_the_jvm_that_do_not_act_are_named_without_their_values() {
        let warning = |options: &str| match command("java", &format!("{options} MultiLangDaemon a")) {
            Some(JavaCommand::Daemon(translated)) => translated.warning,
            other => panic!("{other:?}"),
        };
        for quiet in ["-cp x", "-Daws.region=eu-west-1", "-server"] {
            assert_eq!(warning(quiet), None, "{quiet}");
        }
        let said = warning("-Xmx256m -Daws.secretKey=hush -Dlogback.configurationFile=l.xml -Dmine").unwrap();
        for part in
            ["`-Xmx256m`", "`-Daws.secretKey` (set `AWS_ACCESS_KEY_ID`", "`RUST_LOG`", "`-Dmine` (there"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("hush"), "{said}");
    }

    #[test]
    fn m2_the_version_is_said_as_java_says_it() {
        let stdout = |name: &str, line: &str| match command(name, line)? {
            JavaCommand::Version { text, stdout } => {
                assert!(text.starts_with("java version \"17."), "{text}");
                Some(stdout)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(stdout("./java", "-version"), Some(false));
        assert_eq!(stdout("./java", "--version"), Some(true));
        assert_eq!(stdout("/usr/bin/rokini", "-version"), Some(false));
        assert_eq!(stdout("/usr/bin/rokini", "--version"), None, "it is its own");
    }
}
