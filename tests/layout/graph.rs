//! A graph of dependencies: its cycles, and an order from top to bottom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Edges: source file, target file, and the names that the source uses.
#[derive(Debug, Default)]
pub struct Graph(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Graph {
    /// Adds a dependency with the name that is used. Ignores a dependency of a node on itself.
    pub fn add(&mut self, from: &str, to: &str, what: &str) {
        if from != to {
            let targets = self.0.entry(from.to_owned()).or_default();
            let taken = targets.entry(to.to_owned()).or_default();
            taken.insert(what.to_owned());
        }
    }

    /// Returns every dependency: source, target, and the names that the source uses.
    pub fn dependencies(&self) -> impl Iterator<Item = (&str, &str, &BTreeSet<String>)> {
        self.0.iter().flat_map(|(from, targets)| {
            let targets = targets.iter();
            targets.map(move |(to, what)| (from.as_str(), to.as_str(), what))
        })
    }

    /// Returns the nodes that a node depends on.
    pub fn targets(&self, from: &str) -> impl Iterator<Item = &str> {
        let targets = self.0.get(from).into_iter();
        targets.flat_map(|targets| targets.keys().map(String::as_str))
    }

    /// Returns cycles that together contain every dependency that is part of a cycle: short ones first,
    /// and each contains a dependency that is in none of those before it.
    pub fn cycles(&self) -> Vec<Vec<&str>> {
        let mut cycles: Vec<Vec<&str>> = self
            .dependencies()
            .filter_map(|(from, to, _)| self.shortest_path(to, from))
            .collect();
        for cycle in &mut cycles {
            // The same cycle reads the same wherever it was entered.
            let first = (0..cycle.len()).min_by_key(|&place| cycle[place]);
            cycle.rotate_left(first.unwrap_or(0));
        }
        cycles.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        let mut covered = BTreeSet::new();
        cycles.retain(|cycle| {
            let mut is_new = false;
            for (place, &from) in cycle.iter().enumerate() {
                is_new |= covered.insert((from, cycle[(place + 1) % cycle.len()]));
            }
            is_new
        });
        cycles
    }

    /// Returns a shortest path along the dependencies, both ends included.
    fn shortest_path<'a>(&'a self, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
        let mut came_from = BTreeMap::from([(from, from)]);
        let mut queue = VecDeque::from([from]);
        while let Some(node) = queue.pop_front() {
            if node == to {
                let mut path = vec![node];
                while path[path.len() - 1] != from {
                    path.push(came_from[path[path.len() - 1]]);
                }
                path.reverse();
                return Some(path);
            }
            for next in self.targets(node) {
                if !came_from.contains_key(next) {
                    came_from.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        None
    }

    /// Formats a cycle in one line: `a.rs -> b.rs (Name, Other) -> a.rs (Third)`. The names in brackets
    /// are those that the source uses from the file before them.
    pub fn line(&self, cycle: &[&str]) -> String {
        let mut line = cycle[0].to_owned();
        for (place, from) in cycle.iter().enumerate() {
            let to = cycle[(place + 1) % cycle.len()];
            let what: Vec<&str> = self.0[*from][to].iter().map(String::as_str).collect();
            line += &format!(" -> {to} ({})", what.join(", "));
        }
        line
    }

    /// Returns the given nodes in an order in which each depends only on later ones, except for the
    /// dependencies that close a cycle.
    pub fn top_down<'a>(&'a self, nodes: &BTreeSet<&'a str>) -> Vec<&'a str> {
        let mut finished = Vec::new();
        let mut seen = BTreeSet::new();
        for node in nodes {
            self.finish(node, &mut seen, &mut finished);
        }
        finished.reverse();
        finished
    }

    /// Appends a node to `finished`, after all nodes that it depends on.
    fn finish<'a>(
        &'a self,
        node: &'a str,
        seen: &mut BTreeSet<&'a str>,
        finished: &mut Vec<&'a str>,
    ) {
        if seen.insert(node) {
            for next in self.targets(node) {
                self.finish(next, seen, finished);
            }
            finished.push(node);
        }
    }
}
