//! Text for a terminal of any width.

/// Wraps every line at `width` columns, between words; what is wrapped goes on two columns further in. A word that is longer than
/// that stays whole, so that it can be copied. Without a width nothing is wrapped.
pub(crate) fn wrap(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_string() };
    let mut wrapped = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (content, end) = line.strip_suffix('\n').map_or((line, ""), |content| (content, "\n"));
        wrap_line(content, width, &mut wrapped);
        wrapped.push_str(end);
    }
    wrapped
}

fn wrap_line(line: &str, width: usize, wrapped: &mut String) {
    if shown(line) <= width {
        wrapped.push_str(line);
        return;
    }
    let indent = line.len() - line.trim_start_matches(' ').len();
    let hang = (indent + 2).min(width / 3);
    let mut column = indent.min(width / 3);
    wrapped.push_str(&" ".repeat(column));
    let mut is_first = true;
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let length = shown(word);
        if !is_first && column + 1 + length > width {
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(hang));
            column = hang;
        } else if !is_first {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
        is_first = false;
    }
}

/// Counts the columns of a text, without what only colours it.
fn shown(text: &str) -> usize {
    let (mut columns, mut in_escape) = (0, false);
    for letter in text.chars() {
        match letter {
            '\u{1b}' => in_escape = true,
            'm' if in_escape => in_escape = false,
            _ if in_escape => {}
            _ => columns += 1,
        }
    }
    columns
}

/// Makes text of others safe for a terminal: what would move its cursor or colour it is shown as `?`.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() && letter != '\n' && letter != '\t' { '?' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_wrapped_between_words_and_goes_on_further_in() {
        assert_eq!(wrap("  a bb ccc dddd\nx\n", Some(10)), "  a bb ccc\n   dddd\nx\n");
        assert_eq!(wrap("a/long/path/that/stays whole", Some(10)), "a/long/path/that/stays\n  whole");
        assert_eq!(wrap("anything as it is", None), "anything as it is");
        assert_eq!(wrap("\u{1b}[31mred and\u{1b}[0m", Some(7)), "\u{1b}[31mred and\u{1b}[0m");
    }

    #[test]
    fn what_would_drive_the_terminal_is_not_passed_on() {
        assert_eq!(plain("a\u{1b}[2Jb\r\n\tc"), "a?[2Jb?\n\tc");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal_but_for_one_word(text in "[a-z \n]{0,200}", width in 8_usize..60) {
            for line in wrap(&text, Some(width)).lines() {
                let words = line.split(' ').filter(|word| !word.is_empty()).count();
                prop_assert!(line.chars().count() <= width || words == 1, "{line:?} at {width}");
            }
        }

        #[test]
        fn no_word_is_lost(text in "[a-z \n]{0,200}", width in 8_usize..60) {
            let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
            prop_assert_eq!(words(&wrap(&text, Some(width))), words(&text));
        }
    }
}
