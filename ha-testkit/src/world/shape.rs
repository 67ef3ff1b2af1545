use std::fmt::Write as _;

/// The shape of a simulated cluster, for tests that need many.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Shape {
    /// The declared peak load.
    pub peak_load: u64,
    /// The capacity of each member.
    pub members: Vec<u64>,
    /// How many of them serve.
    pub serve: usize,
    /// The capacity of each spare.
    pub spares: Vec<u64>,
    /// Balancer instances.
    pub balancers: usize,
    /// Members that share a failure domain with the one before them.
    pub together: Vec<usize>,
    /// Whether files are shared.
    pub files: bool,
    /// Whether a database is shared.
    pub database: bool,
    /// Whether the first member pulls work.
    pub work: bool,
}

impl Shape {
    /// One active and one passive member, each able to carry everything.
    pub fn active_passive() -> Self {
        Self {
            peak_load: 1000,
            members: vec![1000, 1000],
            serve: 1,
            spares: vec![1000],
            balancers: 1,
            together: Vec::new(),
            files: false,
            database: false,
            work: false,
        }
    }

    /// Members that all serve, each with a capacity in thousandths of the peak.
    pub fn active_active(members: usize, capacity: u64) -> Self {
        Self { members: vec![capacity; members], serve: members, spares: Vec::new(), ..Self::active_passive() }
    }

    /// Sets the capacities of the spares.
    #[must_use]
    pub fn with_spares(mut self, spares: &[u64]) -> Self {
        self.spares = spares.to_vec();
        self
    }

    /// Sets the number of balancer instances.
    #[must_use]
    pub fn with_balancers(mut self, balancers: usize) -> Self {
        self.balancers = balancers;
        self
    }

    /// Shares files.
    #[must_use]
    pub fn with_files(mut self) -> Self {
        self.files = true;
        self
    }

    /// Shares a database.
    #[must_use]
    pub fn with_database(mut self) -> Self {
        self.database = true;
        self
    }

    /// Lets the first member pull work.
    #[must_use]
    pub fn with_work(mut self) -> Self {
        self.work = true;
        self
    }

    /// Writes the topology of this shape. Members are `esb1` and so on, spares `spare1`, balancers `lb1`.
    pub fn to_toml(&self) -> String {
        let mut text = format!(
            "[cluster]\nname = \"orders\"\n[policy]\npeak_load = {}\nsoak = \"2s\"\ndrain_deadline = \"10s\"\n\
             ready_deadline = \"30s\"\nstop_deadline = \"30s\"\ncommand_deadline = \"30s\"\n[pool]\nname = \"esb\"\n\
             serve = {}\n",
            self.peak_load, self.serve
        );
        for (declared, table) in [(self.files, "files"), (self.database, "database")] {
            if declared {
                let _ = writeln!(text, "[{table}]\nbackend = \"fake\"");
            }
        }
        for number in 1..=self.balancers {
            let _ = writeln!(text, "[[balancer]]\nname = \"lb{number}\"\nbackend = \"fake\"");
        }
        let mut domain = String::new();
        for (index, capacity) in self.members.iter().enumerate() {
            let name = format!("esb{}", index + 1);
            if !self.together.contains(&index) {
                domain = format!("rack-{name}");
            }
            node(&mut text, &name, *capacity, &domain, false);
            if self.work && index == 0 {
                text.push_str("work = { backend = \"fake\" }\n");
            }
        }
        for (index, capacity) in self.spares.iter().enumerate() {
            let name = format!("spare{}", index + 1);
            node(&mut text, &name, *capacity, &format!("rack-{name}"), true);
        }
        text
    }
}

fn node(text: &mut String, name: &str, capacity: u64, domain: &str, spare: bool) {
    let _ = writeln!(
        text,
        "[[node]]\nname = \"{name}\"\ncapacity = {capacity}\ndomain = \"{domain}\"\nspare = {spare}\n\
         host = {{ backend = \"fake\" }}\nprobe = {{ backend = \"fake\" }}"
    );
}
