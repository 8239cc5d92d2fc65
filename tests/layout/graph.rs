//! Arrows between names, the circles among them, and an order from top to bottom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// From whom, to whom, what.
#[derive(Debug, Default)]
pub struct Graph(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Graph {
    /// Adds an arrow with what it takes; none from a node to itself.
    pub fn add(&mut self, from: &str, to: &str, what: &str) {
        if from != to {
            let targets = self.0.entry(from.to_owned()).or_default();
            let taken = targets.entry(to.to_owned()).or_default();
            taken.insert(what.to_owned());
        }
    }

    /// Every arrow: from, to, what it takes.
    pub fn arrows(&self) -> impl Iterator<Item = (&str, &str, &BTreeSet<String>)> {
        self.0.iter().flat_map(|(from, targets)| {
            let targets = targets.iter();
            targets.map(move |(to, what)| (from.as_str(), to.as_str(), what))
        })
    }

    /// The nodes that a node's arrows point to.
    pub fn targets(&self, from: &str) -> impl Iterator<Item = &str> {
        let targets = self.0.get(from).into_iter();
        targets.flat_map(|targets| targets.keys().map(String::as_str))
    }

    /// Circles that together have every arrow that is on any circle: short ones first, and none
    /// that adds no arrow to those before it.
    pub fn circles(&self) -> Vec<Vec<&str>> {
        let mut circles: Vec<Vec<&str>> = self
            .arrows()
            .filter_map(|(from, to, _)| self.shortest_path(to, from))
            .collect();
        for circle in &mut circles {
            // The same circle reads the same wherever it was entered.
            let first = (0..circle.len()).min_by_key(|&place| circle[place]);
            circle.rotate_left(first.unwrap_or(0));
        }
        circles.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        let mut covered = BTreeSet::new();
        circles.retain(|circle| {
            let mut is_new = false;
            for (place, &from) in circle.iter().enumerate() {
                is_new |= covered.insert((from, circle[(place + 1) % circle.len()]));
            }
            is_new
        });
        circles
    }

    /// A shortest path along the arrows, both ends included.
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

    /// A circle in one line: `a.rs -> b.rs (Name, Other) -> a.rs (Third)`. What stands in brackets
    /// is what the arrow takes from the file before them.
    pub fn line(&self, circle: &[&str]) -> String {
        let mut line = circle[0].to_owned();
        for (place, from) in circle.iter().enumerate() {
            let to = circle[(place + 1) % circle.len()];
            let what: Vec<&str> = self.0[*from][to].iter().map(String::as_str).collect();
            line += &format!(" -> {to} ({})", what.join(", "));
        }
        line
    }

    /// The given nodes so that arrows point down the list, save those that close a circle.
    pub fn top_down<'a>(&'a self, nodes: &BTreeSet<&'a str>) -> Vec<&'a str> {
        let mut finished = Vec::new();
        let mut seen = BTreeSet::new();
        for node in nodes {
            self.finish(node, &mut seen, &mut finished);
        }
        finished.reverse();
        finished
    }

    /// Appends a node to `finished` after all that it points to.
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
