use super::super::field::{Field, Piece, expand};
use super::super::lists::Source;
use super::super::shell::{BlockKind, Command, Join, Part, Redirect, Script, Section, Word};
use super::super::trace::{Around, AroundKind, Redirected};
use super::Walker;
use super::variables::assigns;

impl Walker<'_> {
    /// Comes into a block; what it changes over and over is not known any more.
    pub(super) fn open(&mut self, script: &Script, number: usize) -> usize {
        let (block, global) = (&script.blocks[number], self.trace.blocks.len());
        let redirects = self.redirects(&block.redirects);
        let inside = |command: &&Command| command.path.iter().any(|(block, _)| *block == number);
        let at = (self.file, block.line);
        let kind = match &block.kind {
            BlockKind::If => AroundKind::Branch,
            BlockKind::Case => AroundKind::Choice,
            BlockKind::Group | BlockKind::Function { .. } => AroundKind::Group,
            BlockKind::While | BlockKind::For { .. } => {
                for (name, _) in script.commands.iter().filter(inside).flat_map(assigns) {
                    if let Some(value) = self.variables.get_mut(&name) {
                        *value = vec![Piece::Unknown(format!("${name}"))];
                    }
                }
                let skips = || {
                    let in_loop: Vec<&Command> = script.commands.iter().filter(inside).collect();
                    let inner = in_loop.iter().flat_map(|command| &command.path).map(|(block, _)| *block);
                    let in_pattern = inner.into_iter().any(|block| script.blocks[block].patterns.contains('#'));
                    let is_hash = |part: &Part| matches!(part, Part::Text { text, .. } if text.starts_with('#'));
                    let words = in_loop.iter().flat_map(|command| &command.words);
                    in_pattern || words.into_iter().any(|word| word.parts.iter().any(is_hash))
                };
                self.loop_source(script, number, global, skips())
            }
        };
        self.trace.blocks.push(Around { kind, at, then: block.then, redirects });
        global
    }

    fn loop_source(&mut self, script: &Script, number: usize, global: usize, skips: bool) -> AroundKind {
        let block = &script.blocks[number];
        if let BlockKind::For { variable, words } = &block.kind {
            let source = match words {
                Some(words) => {
                    let fields: Vec<Field> = words.iter().flat_map(|word| expand(word, &self.variables)).collect();
                    Source::of_words(&fields, &self.variables)
                }
                None => Source::Unknown("$@".into()),
            };
            self.variables.insert(variable.clone(), vec![Piece::Loop { block: global, word: 0, of: 1 }]);
            return AroundKind::Loop { source: source.skipping(skips), reads_input: false };
        }
        let is_read = |command: &&Command| {
            let in_condition = command.path.last() == Some(&(number, Section::Condition));
            in_condition && command.words.first().and_then(Word::plain) == Some("read")
        };
        let Some(read) = script.commands.iter().find(is_read) else {
            return AroundKind::Loop { source: Source::Unknown("a loop without a list".into()), reads_input: false };
        };
        let is_name = |text: &&str| text.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
        let names: Vec<&str> = read.words.iter().skip(1).filter_map(Word::plain).filter(is_name).collect();
        for (word, name) in names.iter().enumerate() {
            let piece = Piece::Loop { block: global, word, of: names.len() };
            self.variables.insert((*name).into(), vec![piece]);
        }
        let splits_oddly = read.assigns.iter().any(|(name, value)| name == "IFS" && !value.shown().trim().is_empty());
        let input = block.redirects.iter().find(|redirect| redirect.operator == "<");
        let source = match (input, block.piped_from) {
            _ if splits_oddly => Source::Unknown("IFS".into()),
            (Some(redirect), _) => self.input(&redirect.target),
            (None, Some(last)) => {
                let starts = |at: &usize| *at == 0 || script.commands[*at].before != Join::Pipe;
                let first = (0..=last).rev().find(starts).unwrap_or(last);
                let commands: Vec<&Command> = script.commands[first..=last].iter().collect();
                Source::of_pipe(&commands, &self.variables)
            }
            (None, None) => Source::Unknown("the input of the script".into()),
        };
        AroundKind::Loop { source: source.skipping(skips), reads_input: true }
    }

    fn input(&self, target: &Word) -> Source {
        match target.parts.as_slice() {
            [Part::Output { text, .. }] => Source::of_output(text, &self.variables),
            _ => match expand(target, &self.variables).as_slice() {
                [field] => Source::File { path: field.shown(), by_word: false, skips_comments: false },
                _ => Source::Unknown(target.shown()),
            },
        }
    }

    pub(super) fn redirects(&self, redirects: &[Redirect]) -> Vec<Redirected> {
        let read = |redirect: &Redirect| Redirected {
            fd: redirect.fd,
            operator: redirect.operator,
            target: expand(&redirect.target, &self.variables).into_iter().next().unwrap_or_default(),
        };
        redirects.iter().map(read).collect()
    }
}
