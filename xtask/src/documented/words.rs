//! As much of the shell as documents use: quotes, comments, and what stands between commands.

/// The single commands of a line.
pub(crate) fn commands(line: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        let before = found.last().and_then(|command| command.chars().last());
        match (quote, c) {
            (None, '#') if before.is_none_or(char::is_whitespace) => break,
            (None, '|' | '&' | ';') => {
                found.push(String::new());
                continue;
            }
            // What follows is a file, and a number before it is that of a descriptor.
            (None, '>') => {
                if let Some(command) = found.last_mut() {
                    let rest = command.trim_end_matches(|c: char| c.is_ascii_digit()).len();
                    if command[..rest].ends_with(char::is_whitespace) {
                        command.truncate(rest);
                    }
                }
                found.push("> ".to_owned());
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        if let Some(command) = found.last_mut() {
            command.push(c);
        }
    }
    let commands = found.iter().map(|command| command.trim());
    commands.filter(|command| !command.is_empty() && !command.starts_with('>')).map(str::to_owned).collect()
}

/// The words of a command, without their quotes.
pub(crate) fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut is_word, mut quote) = (String::new(), false, None);
    for c in command.chars() {
        match (quote, c) {
            (None, '\'' | '"') => (quote, is_word) = (Some(c), true),
            (Some(open), _) if open == c => quote = None,
            (None, _) if c.is_whitespace() => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
            }
            _ => {
                word.push(c);
                is_word = true;
            }
        }
    }
    if is_word {
        words.push(word);
    }
    words
}
