use super::field::{Field, Piece, Variables, expand};
use super::shell::{Command, Join, Script};

/// Where a loop takes from what it goes over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Source {
    /// The lines of a file, or its words.
    File { path: String, by_word: bool, skips_comments: bool },
    /// Texts in the script.
    Items(Vec<String>),
    /// As it is written.
    Unknown(String),
}

impl Source {
    /// Reads the words of a `for`.
    pub(super) fn of_words(fields: &[Field], variables: &Variables) -> Self {
        if let [Field { pieces, .. }] = fields
            && let [Piece::Output(text)] = pieces.as_slice()
        {
            return Self::of_output(text, variables).by_word();
        }
        let texts: Option<Vec<_>> = fields.iter().map(|field| field.text().filter(|_| !field.is_pattern)).collect();
        let shown = || fields.iter().map(Field::shown).collect::<Vec<_>>().join(" ");
        texts.map_or_else(|| Self::Unknown(shown()), Self::Items)
    }

    /// Reads what prints a list.
    pub(super) fn of_output(text: &str, variables: &Variables) -> Self {
        let script = Script::parse(text, 0, false);
        let commands: Vec<&Command> = script.commands.iter().collect();
        let piped = commands.iter().rev().skip(1).all(|command| command.then == Join::Pipe);
        let is_plain = script.unclear.is_empty() && script.blocks.is_empty() && piped;
        if is_plain { Self::of_pipe(&commands, variables) } else { Self::Unknown(text.trim().into()) }
    }

    /// Reads commands of which the first prints a file and the others leave lines out.
    pub(super) fn of_pipe(commands: &[&Command], variables: &Variables) -> Self {
        let shown = || {
            let words = commands.iter().flat_map(|command| &command.words).map(|word| word.shown());
            Self::Unknown(words.collect::<Vec<_>>().join(" "))
        };
        let Some((first, filters)) = commands.split_first() else { return Self::Unknown(String::new()) };
        let input = first.redirects.iter().find(|redirect| redirect.operator == "<").map(|redirect| &redirect.target);
        let read = |command: &Command| {
            let fields: Vec<Field> = command.words.iter().flat_map(|word| expand(word, variables)).collect();
            filter(&fields)
        };
        let Some((mut skips_comments, path)) = read(first) else { return shown() };
        let path = path.or_else(|| Some(expand(input?, variables).first()?.shown()));
        for command in filters {
            match read(command) {
                Some((skips, None)) => skips_comments |= skips,
                Some((_, Some(_))) | None => return shown(),
            }
        }
        path.map_or_else(shown, |path| Self::File { path, by_word: false, skips_comments })
    }

    pub(super) fn by_word(self) -> Self {
        match self {
            Self::File { path, skips_comments, .. } => Self::File { path, by_word: true, skips_comments },
            Self::Items(_) | Self::Unknown(_) => self,
        }
    }

    pub(super) fn skipping(self, comments: bool) -> Self {
        match self {
            Self::File { path, by_word, skips_comments } => {
                Self::File { path, by_word, skips_comments: skips_comments || comments }
            }
            Self::Items(_) | Self::Unknown(_) => self,
        }
    }
}

/// Reads a command that lets lines through as they are: whether it leaves comments out, and the file that it reads.
fn filter(fields: &[Field]) -> Option<(bool, Option<String>)> {
    let Some((name, rest)) = fields.split_first() else { return Some((false, None)) };
    let name = name.text()?;
    let is_option = |field: &Field| field.text().is_some_and(|text| text.len() > 1 && text.starts_with('-'));
    let positional: Vec<String> = rest.iter().filter(|field| !is_option(field)).map(Field::shown).collect();
    let options: String = rest.iter().filter(|field| is_option(field)).map(Field::shown).collect();
    let last = |index: usize| match positional.len() {
        count if count == index => Some(None),
        count if count == index + 1 => Some(positional.last().cloned()),
        _ => None,
    };
    match name.rsplit('/').next()? {
        "cat" if options.is_empty() => Some((false, last(0)?)),
        "sort" | "uniq" => Some((false, last(0)?)),
        "grep" | "egrep" => {
            let excludes = options.contains('v') && positional.first()?.contains('#');
            let whole = !options.contains(['c', 'l', 'o', 'n', 'f']);
            whole.then_some((excludes, last(1)?))
        }
        "sed" => {
            let script = positional.first()?;
            let deletes = options.is_empty() && script.starts_with('/') && script.ends_with("/d");
            deletes.then_some((script.contains('#'), last(1)?))
        }
        "tr" if options == "-d" && positional.len() == 1 && positional[0].trim_matches('\\') == "r" => {
            Some((false, None))
        }
        _ => None,
    }
}
