use std::collections::HashMap;

use super::shell::{Part, Word};

/// A piece of what a word becomes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// What a loop is at: the word of this number of so many, of the line that it has read.
    Loop {
        block: usize,
        word: usize,
        of: usize,
    },
    /// What a command prints.
    Output(String),
    /// As it is written.
    Unknown(String),
}

/// What a word becomes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Field {
    pub(super) pieces: Vec<Piece>,
    /// Whether it is a pattern of file names.
    pub(super) is_pattern: bool,
}

/// The variables as far as they are known.
pub(super) type Variables = HashMap<String, Vec<Piece>>;

/// Longer values count as unknown: a script that doubles a variable in each line shall not fill the memory.
const LONGEST: usize = 4096;
/// More words than this are not read.
const MOST: usize = 512;

impl Field {
    pub(super) fn of(text: &str) -> Self {
        Self { pieces: vec![Piece::Text(text.into())], is_pattern: false }
    }

    /// Returns its text, where that is known.
    pub(super) fn text(&self) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Loop { .. } | Piece::Output(_) | Piece::Unknown(_) => return None,
            }
        }
        Some(text)
    }

    /// Shows it about as it is written.
    pub(super) fn shown(&self) -> String {
        let show = |piece: &Piece| match piece {
            Piece::Text(text) | Piece::Unknown(text) => text.clone(),
            Piece::Loop { .. } => "$..".into(),
            Piece::Output(text) => format!("$({text})"),
        };
        self.pieces.iter().map(show).collect()
    }

    /// Returns the first piece that is not known, as it is written.
    pub(super) fn unknown(&self) -> Option<String> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Text(_) | Piece::Loop { .. } => None,
            Piece::Unknown(text) => Some(text.clone()),
            Piece::Output(text) => Some(format!("$({text})")),
        })
    }

    fn push(&mut self, piece: Piece) {
        match (self.pieces.last_mut(), piece) {
            (Some(Piece::Text(last)), Piece::Text(text)) => last.push_str(&text),
            (_, piece) => self.pieces.push(piece),
        }
    }
}

/// Returns what a word becomes, split as a shell splits it.
pub(super) fn expand(word: &Word, variables: &Variables) -> Vec<Field> {
    let (mut fields, mut open) = (Vec::new(), None::<Field>);
    for part in &word.parts {
        match part {
            Part::Text { text, quoted } => {
                let field = open.get_or_insert_default();
                let is_choice = text.contains('{') && text.contains(['}', ',']);
                if !quoted && is_choice {
                    field.push(Piece::Unknown(text.clone()));
                } else {
                    field.is_pattern |= !quoted && text.contains(['*', '?', '[']);
                    field.push(Piece::Text(text.clone()));
                }
            }
            Part::Variable { name, default, quoted } => {
                let unknown = || vec![Piece::Unknown(format!("${name}"))];
                let given = default.as_ref().map(|text| vec![Piece::Text(text.clone())]);
                let is_set = |value: &&Vec<Piece>| default.is_none() || !value.is_empty();
                let value = variables.get(name).filter(is_set).cloned().or(given).unwrap_or_else(unknown);
                if *quoted {
                    let field = open.get_or_insert_default();
                    value.into_iter().for_each(|piece| field.push(piece));
                } else {
                    split(value, &mut fields, &mut open);
                }
            }
            Part::Output { text, .. } => open.get_or_insert_default().push(Piece::Output(text.clone())),
            Part::Other(text) => open.get_or_insert_default().push(Piece::Unknown(text.clone())),
        }
        if fields.len() > MOST {
            break;
        }
    }
    fields.extend(open);
    fields
}

fn split(value: Vec<Piece>, fields: &mut Vec<Field>, open: &mut Option<Field>) {
    for piece in value {
        let Piece::Text(text) = piece else {
            open.get_or_insert_default().push(piece);
            continue;
        };
        for (index, part) in text.split([' ', '\t', '\n']).enumerate() {
            if index > 0 {
                fields.extend(open.take());
            }
            if !part.is_empty() {
                let field = open.get_or_insert_default();
                field.is_pattern |= part.contains(['*', '?', '[']);
                field.push(Piece::Text(part.into()));
            }
        }
    }
}

/// Returns what a variable gets from a word: nothing is split there.
pub(super) fn assigned(word: &Word, variables: &Variables) -> Vec<Piece> {
    let mut field = Field::default();
    for part in &word.parts {
        let quoted = match part {
            Part::Text { text, .. } => Part::Text { text: text.clone(), quoted: true },
            Part::Variable { name, default, .. } => {
                Part::Variable { name: name.clone(), default: default.clone(), quoted: true }
            }
            Part::Output { .. } | Part::Other(_) => part.clone(),
        };
        let one = Word { parts: vec![quoted], line: word.line };
        expand(&one, variables).into_iter().flat_map(|one| one.pieces).for_each(|piece| field.push(piece));
    }
    let size: usize =
        field.pieces.iter().map(|piece| Field { pieces: vec![piece.clone()], is_pattern: false }.shown().len()).sum();
    if size > LONGEST { vec![Piece::Unknown("a long text".into())] } else { field.pieces }
}
