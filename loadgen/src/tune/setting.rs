//! The settings of `globalcounter serve` that are tried.

use serde::Serialize;

use crate::launch::Storage;

/// A setting of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Setting {
    pub(super) shards: u16,
    pub(super) pin: bool,
    pub(super) steering: Steering,
}

/// `--steering`, in the order from the simplest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Steering {
    Auto,
    On,
    Off,
}

impl Setting {
    /// Returns all settings to try, from the simplest on: the fewest shards, not pinned, `--steering
    /// auto`. With `steering`, also the opposite of what `auto` does on a server with this many
    /// `processors`.
    pub(super) fn all(shards: &[u16], steering: bool, processors: usize) -> Vec<Self> {
        let mut shards = shards.to_vec();
        shards.sort_unstable();
        shards.dedup();
        let mut settings = Vec::new();
        for shards in shards {
            let other = match usize::from(shards) <= processors {
                true => Steering::Off,
                false => Steering::On,
            };
            // One worker gets all datagrams in any case.
            let other = (steering && shards > 1).then_some(other);
            for pin in [false, true] {
                for steering in std::iter::once(Steering::Auto).chain(other) {
                    settings.push(Self {
                        shards,
                        pin,
                        steering,
                    });
                }
            }
        }
        settings
    }

    /// Returns the flags of `globalcounter serve`.
    pub(super) fn flags(&self) -> Vec<String> {
        let mut flags = vec!["--shards".to_owned(), self.shards.to_string()];
        if self.pin {
            flags.push("--pin".to_owned());
        }
        if let Some(value) = self.steering.value() {
            flags.extend(["--steering", value].map(str::to_owned));
        }
        flags
    }

    /// Returns the command line to deploy.
    pub(super) fn command(&self, storage: Storage) -> String {
        let mut words = vec!["globalcounter serve".to_owned()];
        words.extend(self.flags());
        words.extend(storage.flags().iter().map(|&flag| flag.to_owned()));
        words.join(" ")
    }

    /// Returns its name for a table.
    pub(super) fn name(&self) -> String {
        let shards = match self.shards {
            1 => "1 shard".to_owned(),
            shards => format!("{shards} shards"),
        };
        let mut words = vec![shards];
        words.extend(self.variant());
        words.join(", ")
    }

    /// Returns what is set apart from the number of shards; nothing if that is the default.
    pub(super) fn variant(&self) -> Vec<String> {
        let pin = self.pin.then(|| "pinned".to_owned());
        let steering = self.steering.value();
        let steering = steering.map(|value| format!("steering {value}"));
        pin.into_iter().chain(steering).collect()
    }
}

impl Steering {
    /// Returns the value of the flag. `None` for the default.
    fn value(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::On => Some("on"),
            Self::Off => Some("off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(settings: &[Setting]) -> Vec<String> {
        settings.iter().map(Setting::name).collect()
    }

    #[test]
    fn the_simplest_setting_comes_first() {
        let settings = Setting::all(&[2, 1, 2], false, 2);
        let expected = ["1 shard", "1 shard, pinned", "2 shards", "2 shards, pinned"];
        assert_eq!(names(&settings), expected);
    }

    #[test]
    fn steering_is_tried_against_what_auto_does() {
        let settings = Setting::all(&[1, 2, 4], true, 2);
        let expected = [
            "1 shard",
            "1 shard, pinned",
            "2 shards",
            "2 shards, steering off",
            "2 shards, pinned",
            "2 shards, pinned, steering off",
            "4 shards",
            "4 shards, steering on",
            "4 shards, pinned",
            "4 shards, pinned, steering on",
        ];
        assert_eq!(names(&settings), expected);
    }

    #[test]
    fn the_command_has_every_flag_that_was_measured() {
        let setting = Setting {
            shards: 2,
            pin: true,
            steering: Steering::Off,
        };
        assert_eq!(
            setting.command(Storage::Exact),
            "globalcounter serve --shards 2 --pin --steering off --durability exact"
        );
        let simple = Setting {
            shards: 1,
            pin: false,
            steering: Steering::Auto,
        };
        assert_eq!(
            simple.command(Storage::Memory),
            "globalcounter serve --shards 1 --in-memory"
        );
    }
}
