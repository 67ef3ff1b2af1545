mod blocks;
mod variables;

use std::collections::HashMap;
use std::rc::Rc;

use super::commands::{self, Flock, Inner};
use super::field::{Field, Variables, assigned, expand};
use super::shell::{BlockKind, Command, Join, Part, Script, Section, Word};
use super::text::Text;
use super::trace::{Act, At, Trace, Trap};
use variables::{Branched, is_declaration};

/// A run of more commands is not read to its end.
const MOST: usize = 4096;
/// Scripts, functions and texts that are deeper in each other are not read.
const DEEPEST: usize = 6;
const MOST_CALLS: usize = 512;

/// Walks through what a command of a crontab does, into the scripts that were given.
pub(super) fn walk_line(texts: &[Text], scripts: &[usize], variables: &Variables, at: At, command: &str) -> Trace {
    let mut walker = Walker::new(texts, scripts, variables, at.0);
    let shell = variables.get("SHELL").map(|value| Field { pieces: value.clone(), is_pattern: false }.shown());
    let is_plain = shell.is_none_or(|shell| shell.rsplit('/').next().is_some_and(commands::is_plain_shell));
    walker.text(command, at.1, is_plain);
    walker.trace
}

/// Walks through a script that nothing is known to run.
pub(super) fn walk_script(texts: &[Text], scripts: &[usize], script: usize) -> Trace {
    let mut walker = Walker::new(texts, scripts, &Variables::new(), script);
    walker.script(script, None, &[Field::of(&texts[script].name)]);
    walker.trace
}

/// Where functions are found: the script, the commands, and how many blocks of their paths are around the body.
#[derive(Clone)]
struct Function {
    script: Rc<Script>,
    commands: Vec<usize>,
    depth: usize,
    block: usize,
}

struct Walker<'t> {
    texts: &'t [Text],
    scripts: &'t [usize],
    /// What each script begins with.
    inherited: Variables,
    variables: Variables,
    functions: HashMap<String, Function>,
    traps: Vec<(usize, At, Field)>,
    /// The variables that a branch sets, and their values before: behind it, it may be either.
    branched: Vec<Branched>,
    trace: Trace,
    file: usize,
    depth: usize,
    calls: usize,
    path: Vec<(usize, Section)>,
    is_captured: bool,
    timed: bool,
    stops: bool,
    pipefail: bool,
}

impl<'t> Walker<'t> {
    fn new(texts: &'t [Text], scripts: &'t [usize], variables: &Variables, file: usize) -> Self {
        Self {
            texts,
            scripts,
            inherited: variables.clone(),
            variables: variables.clone(),
            functions: HashMap::new(),
            traps: Vec::new(),
            branched: Vec::new(),
            trace: Trace::default(),
            file,
            depth: 0,
            calls: 0,
            path: Vec::new(),
            is_captured: false,
            timed: false,
            stops: false,
            pipefail: false,
        }
    }

    fn unclear(&mut self, line: usize, what: impl Into<String>) {
        self.trace.unclear.insert(((self.file, line), what.into()));
    }

    /// Goes one level deeper, unless that is too deep or too long.
    fn enter(&mut self, line: usize) -> bool {
        let fits = self.depth < DEEPEST && self.calls < MOST_CALLS && self.trace.acts.len() < MOST;
        self.calls += 1;
        if fits {
            self.depth += 1;
        } else {
            self.unclear(line, "more commands, or deeper in each other, than are read");
        }
        fits
    }

    fn notes(&mut self, script: &Script, is_plain: bool) {
        for (line, what) in &script.unclear {
            self.unclear(*line, what.clone());
        }
        if is_plain {
            let file = self.file;
            self.trace.bashisms.extend(script.bashisms.iter().map(|(line, what)| ((file, *line), what.clone())));
        }
    }

    /// Walks through a text of one line.
    fn text(&mut self, text: &str, line: usize, is_plain: bool) {
        if !self.enter(line) {
            return;
        }
        let script = Rc::new(Script::parse(text, line, false));
        self.notes(&script, is_plain);
        self.all(&script);
        self.depth -= 1;
    }

    /// Walks through a script with its own variables; the first field is its path, the others are its arguments.
    fn script(&mut self, number: usize, shell: Option<&str>, fields: &[Field]) {
        let line = usize::from(!self.texts[number].text.is_empty());
        if !self.enter(line) {
            return;
        }
        let text = &self.texts[number].text;
        let script = Rc::new(Script::parse(text, 1, true));
        let outer_file = std::mem::replace(&mut self.file, number);
        let outer_variables = std::mem::replace(&mut self.variables, self.inherited.clone());
        let outer_functions = std::mem::take(&mut self.functions);
        let outer_traps = std::mem::take(&mut self.traps);
        let (stops, pipefail) = (self.stops, self.pipefail);
        self.trace.scripts.insert(number);
        let said = interpreter(text);
        let options: Vec<&str> = said.iter().skip(1).copied().collect();
        self.stops = options.iter().any(|option| option.starts_with('-') && option.contains('e'));
        self.pipefail = false;
        let shell = shell.or(said.first().copied()).unwrap_or("sh");
        if !commands::is_shell(shell) {
            self.unclear(line, format!("a script that {shell} runs"));
        } else {
            self.notes(&script, commands::is_plain_shell(shell));
            self.arguments(fields);
            self.all(&script);
            self.run_traps();
        }
        (self.stops, self.pipefail) = (stops, pipefail);
        (self.file, self.variables) = (outer_file, outer_variables);
        (self.functions, self.traps) = (outer_functions, outer_traps);
        self.depth -= 1;
    }

    fn arguments(&mut self, fields: &[Field]) {
        for (number, field) in fields.iter().enumerate() {
            self.variables.insert(number.to_string(), field.pieces.clone());
        }
    }

    /// Walks through what traps do when the script ends.
    fn run_traps(&mut self) {
        for (before, at, field) in std::mem::take(&mut self.traps) {
            let outer = std::mem::take(&mut self.trace.acts);
            let Some(text) = field.text() else {
                self.trace.acts = outer;
                self.unclear(at.1, format!("a trap that does {}", field.shown()));
                continue;
            };
            self.text(&text, at.1, false);
            let acts = std::mem::replace(&mut self.trace.acts, outer);
            self.trace.traps.push(Trap { before, at, acts });
        }
    }

    /// Walks through the commands of a script that are in no function.
    fn all(&mut self, script: &Rc<Script>) {
        let mut top = Vec::new();
        for (number, command) in script.commands.iter().enumerate() {
            let is_function = |(block, _): &(usize, Section)| match &script.blocks[*block].kind {
                BlockKind::Function { name } => Some(name),
                BlockKind::If | BlockKind::While | BlockKind::For { .. } | BlockKind::Case | BlockKind::Group => None,
            };
            let depth = command.path.iter().position(|entry| is_function(entry).is_some());
            match depth.and_then(|depth| Some((depth, is_function(&command.path[depth])?))) {
                None => top.push(number),
                Some((depth, name)) => {
                    let block = command.path[depth].0;
                    let new = || Function { script: script.clone(), commands: Vec::new(), depth: depth + 1, block };
                    let function = self.functions.entry(name.clone()).or_insert_with(new);
                    if Rc::ptr_eq(&function.script, script) && function.block == block {
                        function.commands.push(number);
                    } else {
                        *function = Function { commands: vec![number], ..new() };
                        self.unclear(command.line, format!("which {name} is meant: it is defined twice"));
                    }
                }
            }
        }
        self.commands(script, &top, 0);
    }

    /// Walks through commands, without the first blocks of their paths.
    fn commands(&mut self, script: &Rc<Script>, numbers: &[usize], depth: usize) {
        let (mut known, outer) = (HashMap::new(), self.path.clone());
        for number in numbers {
            if self.trace.acts.len() >= MOST {
                self.unclear(script.commands[*number].line, "more commands than are read");
                break;
            }
            let command = &script.commands[*number];
            let mut path = outer.clone();
            for (block, section) in command.path.iter().skip(depth) {
                let global = match known.get(block) {
                    Some(global) => *global,
                    None => {
                        let global = self.open(script, *block);
                        known.insert(*block, global);
                        global
                    }
                };
                path.push((global, *section));
            }
            self.path = path;
            self.leave_branches();
            self.command(command);
        }
        self.path = outer;
        self.leave_branches();
    }

    fn command(&mut self, command: &Command) {
        let values = command.assigns.iter().map(|(_, value)| value);
        for word in command.words.iter().chain(values) {
            self.captured(word);
        }
        let fields: Vec<Field> = command.words.iter().flat_map(|word| expand(word, &self.variables)).collect();
        let words = command.words.iter().chain(command.assigns.iter().map(|(_, value)| value));
        let rsh = command.assigns.iter().find(|(name, _)| name == "RSYNC_RSH");
        let rsh = rsh.map(|(_, value)| assigned(value, &self.variables)).or(self.variables.get("RSYNC_RSH").cloned());
        let act = Act {
            at: (self.file, command.line),
            redirects: self.redirects(&command.redirects),
            then: command.then,
            negated: command.negated,
            path: self.path.clone(),
            reads_status: words.into_iter().any(|word| word.mentions("?")),
            is_captured: self.is_captured,
            stops: self.stops,
            pipefail: self.pipefail,
            timed: self.timed,
            rsh: rsh.map(|pieces| Field { pieces, is_pattern: false }),
            fields: Vec::new(),
        };
        if command.words.is_empty() || is_declaration(command) {
            self.assign(command);
        }
        self.act(act, fields);
    }

    /// Walks through the copies whose output a word takes.
    fn captured(&mut self, word: &Word) {
        for part in &word.parts {
            if let Part::Output { text, .. } = part
                && text.contains("rsync")
            {
                let outer = std::mem::replace(&mut self.is_captured, true);
                self.text(text, word.line, false);
                self.is_captured = outer;
            }
        }
    }

    /// Takes the wrappers off a command, and walks into what it starts.
    fn act(&mut self, mut act: Act, mut fields: Vec<Field>) {
        let line = act.at.1;
        loop {
            let is_function =
                fields.first().and_then(Field::text).is_some_and(|name| self.functions.contains_key(&name));
            let inner = if is_function { Inner::Plain } else { commands::inner(&fields) };
            let outer_timed = self.timed;
            match inner {
                Inner::Command { fields: rest, timed, lock } => {
                    self.lock(&act, lock, rest.is_empty());
                    if rest.is_empty() {
                        return;
                    }
                    act.timed |= timed;
                    fields = rest;
                }
                Inner::Text { text, lock } => {
                    self.lock(&act, lock, false);
                    self.timed = act.timed;
                    match text.text() {
                        Some(text) => self.text(&text, line, false),
                        None => self.unclear(line, format!("what a shell reads in {}", text.shown())),
                    }
                    self.timed = outer_timed;
                    return;
                }
                Inner::Script { shell, fields } => {
                    self.timed = act.timed;
                    self.call(line, Some(&shell), &fields);
                    self.timed = outer_timed;
                    return;
                }
                Inner::Sourced { fields } => {
                    let shown = fields.first().map(Field::shown).unwrap_or_default();
                    match self.find(&shown) {
                        Some(number) => self.sourced(number, line),
                        None => self.unclear(line, format!("what {shown} sets is not known")),
                    }
                    return;
                }
                Inner::Plain => break,
            }
        }
        let name = commands::name(&fields);
        act.fields = fields;
        self.trace.acts.push(act.clone());
        let Some(name) = name else {
            if let Some(field) = act.fields.first() {
                self.unclear(line, format!("which command {} is", field.shown()));
            }
            return;
        };
        self.enter_command(&act, &name);
    }

    /// Walks into what a command runs.
    fn enter_command(&mut self, act: &Act, name: &str) {
        let line = act.at.1;
        let outer_timed = std::mem::replace(&mut self.timed, act.timed);
        if let Some(function) = self.functions.get(name).cloned() {
            if self.enter(line) {
                let outer = self.variables.clone();
                self.arguments(&act.fields);
                self.commands(&function.script, &function.commands, function.depth);
                for number in 0..act.fields.len() {
                    let number = number.to_string();
                    match outer.get(&number) {
                        Some(value) => self.variables.insert(number, value.clone()),
                        None => self.variables.remove(&number),
                    };
                }
                self.depth -= 1;
            }
        } else if name == "set" {
            let options: Vec<String> = act.fields.iter().skip(1).map(Field::shown).collect();
            let short = |letter| options.iter().any(|text| text.starts_with('-') && text.contains(letter));
            self.stops |= short('e') || options.iter().any(|text| text == "errexit");
            self.pipefail |= options.iter().any(|text| text == "pipefail");
        } else if name == "trap" {
            if let Some(body) = act.fields.get(1).filter(|field| !["", "-"].contains(&field.shown().as_str()))
                && act.fields.len() > 2
            {
                self.traps.push((self.trace.acts.len(), act.at, body.clone()));
            }
        } else if self.find(&act.fields[0].shown()).is_some() || name.ends_with(".sh") || name.ends_with(".bash") {
            self.call(line, None, &act.fields);
        } else if self.depth <= 1 && !self.scripts.contains(&self.file) && !is_looked_at(act, name) {
            self.trace.missing.insert((act.at, act.fields[0].shown()));
        } else if !is_looked_at(act, name) {
            self.unclear(line, format!("what {name} does"));
        }
        self.timed = outer_timed;
    }

    fn lock(&mut self, act: &Act, lock: Option<Flock>, is_whole: bool) {
        if let Some(lock) = lock {
            let then = if is_whole { act.then } else { Join::And };
            let option = if lock.waits { "--wait" } else { "--nonblock" };
            let fields = vec![Field::of("flock"), Field::of(option), lock.file];
            self.trace.acts.push(Act { fields, then, ..act.clone() });
        }
    }

    fn find(&self, path: &str) -> Option<usize> {
        self.scripts.iter().copied().find(|number| self.texts[*number].is_at(path))
    }

    fn call(&mut self, line: usize, shell: Option<&str>, fields: &[Field]) {
        let path = fields.first().map(Field::shown).unwrap_or_default();
        match self.find(&path) {
            Some(number) => self.script(number, shell, fields),
            None => {
                self.trace.missing.insert(((self.file, line), path));
            }
        }
    }

    fn sourced(&mut self, number: usize, line: usize) {
        if !self.enter(line) {
            return;
        }
        let script = Rc::new(Script::parse(&self.texts[number].text, 1, true));
        let outer = std::mem::replace(&mut self.file, number);
        self.trace.scripts.insert(number);
        self.notes(&script, false);
        self.all(&script);
        self.file = outer;
        self.depth -= 1;
    }
}

/// Tells whether a command is harmless, or left to the rules.
fn is_looked_at(act: &Act, name: &str) -> bool {
    let passes_on =
        ["find", "ssh"].contains(&name) && act.fields.iter().skip(1).any(|field| field.shown().contains("rsync"));
    name == "rsync" || (commands::is_harmless(name) && !passes_on)
}

/// Reads the first line's `#!`: the program's name and its options.
fn interpreter(text: &str) -> Vec<&str> {
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("#!")) else { return Vec::new() };
    let words = line.split_ascii_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    words.skip_while(|word| *word == "env").collect()
}
