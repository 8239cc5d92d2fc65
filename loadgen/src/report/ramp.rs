//! The results of a ramp.

use serde::Serialize;

use super::summary::Latency;

/// A search for the highest rate at which p99 stays low enough.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ramp {
    /// The limit on p99, in microseconds.
    pub(crate) slo: f64,
    /// The highest rate that was sustained. `None` if none was.
    pub(crate) highest: Option<f64>,
    /// Steps that took more than one try.
    repeated_steps: usize,
    /// Failed tries at rates at which a later try succeeded: the machine failed in them, not the
    /// server.
    noise_tries: u32,
    /// In the order in which they ran.
    pub(crate) steps: Vec<Step>,
}

/// One rate of a ramp. Its results are those of the last try that could be measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    /// Requests per second.
    pub(crate) target_rate: f64,
    /// How often the rate was tried.
    pub(crate) tries: u32,
    /// Replies per second.
    pub(crate) rate: f64,
    pub(crate) latency: Latency,
    /// Whether the server sustained the rate in one of the tries.
    pub(crate) sustained: bool,
    /// Why nothing could be measured.
    pub(crate) failed: Option<String>,
}

impl Ramp {
    pub(crate) fn new(slo: f64, highest: Option<f64>, steps: Vec<Step>) -> Self {
        let repeated = steps.iter().filter(|step| step.tries > 1);
        let sustained = steps.iter().filter(|step| step.sustained);
        Self {
            slo,
            highest,
            repeated_steps: repeated.count(),
            noise_tries: sustained.map(|step| step.tries - 1).sum(),
            steps,
        }
    }

    /// Returns a sentence about the tries that were repeated. `None` if none were.
    pub(super) fn repeats(&self) -> Option<String> {
        if self.repeated_steps == 0 {
            return None;
        }
        let noise = match self.noise_tries {
            0 => "no failed try was noise".to_owned(),
            1 => "1 failed try was noise (a later try at the same rate succeeded)".to_owned(),
            tries => {
                format!("{tries} failed tries were noise (a later try at the same rate succeeded)")
            }
        };
        Some(format!(
            "{} of {} rates took more than one try; {noise}",
            self.repeated_steps,
            self.steps.len()
        ))
    }
}

impl Step {
    /// A try in which nothing could be measured.
    pub(crate) fn failed(target_rate: f64, error: &anyhow::Error) -> Self {
        Self {
            target_rate,
            tries: 1,
            rate: 0.0,
            latency: Latency::default(),
            sustained: false,
            failed: Some(format!("{error:#}")),
        }
    }

    /// Adds the next try at the same rate.
    pub(crate) fn add_try(&mut self, next: Self) {
        let tries = self.tries + next.tries;
        if next.failed.is_none() || self.failed.is_some() {
            *self = next;
        }
        self.tries = tries;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A ramp whose second rate was sustained at the third try, and whose third rate never was.
    pub(in super::super) fn noisy() -> Ramp {
        let step = |target_rate, sustained| Step {
            target_rate,
            tries: 1,
            rate: target_rate,
            latency: Latency::default(),
            sustained,
            failed: None,
        };
        let failed = |rate| Step::failed(rate, &anyhow::anyhow!("the server vanished"));
        let mut second = step(2_000.0, false);
        second.add_try(failed(2_000.0));
        second.add_try(step(2_000.0, true));
        let mut third = failed(3_000.0);
        third.add_try(failed(3_000.0));
        third.add_try(failed(3_000.0));
        let steps = vec![step(1_000.0, true), second, third];
        Ramp::new(1_000.0, Some(2_000.0), steps)
    }

    #[test]
    fn tries_are_counted() {
        let ramp = noisy();
        let tries: Vec<u32> = ramp.steps.iter().map(|step| step.tries).collect();
        assert_eq!(tries, [1, 3, 3]);
        assert!(ramp.steps[1].sustained && ramp.steps[1].failed.is_none());
        let repeats = "2 of 3 rates took more than one try; \
            2 failed tries were noise (a later try at the same rate succeeded)";
        assert_eq!(ramp.repeats().unwrap(), repeats);
        let json = serde_json::to_value(&ramp).unwrap();
        assert_eq!(json["repeated_steps"], 2);
        assert_eq!(json["noise_tries"], 2);
        assert_eq!(json["steps"][2]["tries"], 3);
    }

    #[test]
    fn a_ramp_without_repeats_does_not_mention_them() {
        let steps = noisy().steps[..1].to_vec();
        assert_eq!(Ramp::new(1_000.0, Some(1_000.0), steps).repeats(), None);
        let steps = noisy().steps[2..].to_vec();
        let repeats = "1 of 1 rates took more than one try; no failed try was noise";
        assert_eq!(Ramp::new(1.0, None, steps).repeats().unwrap(), repeats);
    }

    /// A try in which nothing could be measured does not hide one that was.
    #[test]
    fn a_step_keeps_the_last_measured_try() {
        let mut step = noisy().steps[0].clone();
        step.sustained = false;
        step.add_try(Step::failed(1_000.0, &anyhow::anyhow!("gone")));
        assert_eq!((step.tries, step.rate, step.failed), (2, 1_000.0, None));
    }
}
