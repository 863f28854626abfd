//! The command line of the KCL's Java daemon, for launchers that know nothing else.

use std::ffi::OsString;

/// The end of the name of the class that a launcher starts.
const DAEMON: &str = "MultiLangDaemon";

/// The arguments of `rokini run` that mean the same as those of `java` which start the MultiLang daemon. `None` for all
/// other arguments.
pub(crate) fn multilang_arguments(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let is_daemon = |argument: &OsString| {
        let argument = argument.to_string_lossy();
        argument.ends_with(DAEMON) && !argument.starts_with('-')
    };
    let class = arguments.iter().position(is_daemon)?;
    // Before the class stand options of the JVM.
    let before = &arguments[..class];
    let mut is_value = false;
    for option in before {
        let option = option.to_string_lossy();
        if !std::mem::replace(&mut is_value, false) {
            if !option.starts_with('-') {
                return None;
            }
            is_value = ["-cp", "-classpath", "--class-path"].contains(&option.as_ref());
        }
    }
    let mut properties = None;
    let mut rest = arguments[class + 1..].iter();
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
    let mut translated: Vec<OsString> = vec!["run".into()];
    if let Some(properties) = properties {
        translated.extend(["--properties".into(), properties]);
    }
    Some(translated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m2_the_command_of_a_launcher_is_understood() {
        let translate = |line: &str| {
            let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
            multilang_arguments(&words).map(|words| {
                words.iter().map(|word| word.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
            })
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
        ] {
            assert_eq!(translate(&line).as_deref(), Some(translated), "{line}");
        }
        for line in [
            "run orders --group g",
            "-version",
            "put orders MultiLangDaemon",
            "consume orders -g MultiLangDaemon",
        ] {
            assert_eq!(translate(line), None, "{line}");
        }
    }
}
