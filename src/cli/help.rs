//! Help that teaches: for each verb what it is for, examples that work as typed, its own exit codes, what comes next. The
//! flags stand with the verbs.

use clap::Command;

/// What `--help` says of a verb beyond its flags.
pub(super) struct Lesson {
    /// Its words: `keys suspend`.
    pub(super) verb: &'static str,
    /// What it is for.
    pub(super) purpose: &'static str,
    /// A remark, and a command.
    pub(super) examples: &'static [(&'static str, &'static str)],
    /// Exit codes that mean something of their own here.
    pub(super) codes: &'static [(u8, &'static str)],
    /// What comes after it.
    pub(super) next: &'static str,
}

/// The verbs as `kekring help` groups them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Make and run", &["init", "serve", "status", "probe", "doctor"]),
    ("Keys", &["rotate", "keys"]),
    (
        "What opens and outlives the ring",
        &["root", "backup", "restore", "ring", "node", "store"],
    ),
    ("Configuration", &["config"]),
    ("Shell", &["completions", "help"]),
];

const TEMPLATE_HEAD: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n";
const TEMPLATE_TAIL: &str = "Options:\n{options}{after-help}";

/// Outcomes beyond done and failed.
const AFTER: &str = "\
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 refused for safety, 4 not finished yet.
Every key of the configuration is also a variable: KEKRING_SOCKET_PATH, KEKRING_ROTATION_PERIOD, …

A first look, without root and without a cluster: kekring serve --dev ./dev
`kekring help VERB` has examples for each verb.";

/// The command line with its lessons.
pub(super) fn taught(command: Command) -> Command {
    let template = format!("{TEMPLATE_HEAD}{}{TEMPLATE_TAIL}", groups(&command));
    teach(command, "").help_template(template).after_help(AFTER)
}

fn groups(command: &Command) -> String {
    let about = |name: &str| match command.find_subcommand(name) {
        Some(verb) => verb.get_about().map(ToString::to_string).unwrap_or_default(),
        None => "Show this, or the help of a verb".to_owned(),
    };
    let lines = |verbs: &[&str]| -> String {
        let line = |verb: &&str| format!("  {verb:<12} {}\n", about(verb));
        verbs.iter().map(line).collect()
    };
    GROUPS
        .iter()
        .map(|(title, verbs)| format!("{title}:\n{}\n", lines(verbs)))
        .collect()
}

/// Gives each verb below `command` its lesson.
fn teach(mut command: Command, words: &str) -> Command {
    let below: Vec<String> = command
        .get_subcommands()
        .map(|it| it.get_name().to_owned())
        .collect();
    for name in below {
        let words = format!("{words} {name}").trim_start().to_owned();
        command = command.mut_subcommand(name, |verb| teach(verb, &words));
    }
    match lesson(words) {
        Some(lesson) => {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            command
                .long_about(format!("{about}\n\n{}", lesson.purpose))
                .after_long_help(lesson.text())
        }
        None => command,
    }
}

/// The lesson of a verb.
pub(super) fn lesson(verb: &str) -> Option<&'static Lesson> {
    super::lessons::ALL.iter().find(|it| it.verb == verb)
}

impl Lesson {
    /// Its sections, by title: examples as they are, the rest as prose.
    pub(super) fn sections(&self) -> Vec<(&'static str, String)> {
        let examples: Vec<String> = self
            .examples
            .iter()
            .map(|(remark, command)| match remark.is_empty() {
                true => format!("  {command}"),
                false => format!("  # {remark}\n  {command}"),
            })
            .collect();
        let codes: Vec<String> = self
            .codes
            .iter()
            .map(|(code, meaning)| format!("  {code}  {meaning}"))
            .collect();
        let all = [
            ("Examples", examples.join("\n")),
            ("Exit codes", codes.join("\n")),
            ("Next", self.next.to_owned()),
        ];
        all.into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }

    fn text(&self) -> String {
        let shown = |(title, text): (&str, String)| match title {
            "Next" => format!("Next: {text}"),
            _ => format!("{title}:\n{text}"),
        };
        let sections: Vec<String> = self.sections().into_iter().map(shown).collect();
        sections.join("\n\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::lessons::ALL;
    use super::*;

    fn leaves(command: &Command, words: &str, found: &mut Vec<String>) {
        for verb in command.get_subcommands().filter(|it| it.get_name() != "help") {
            let words = format!("{words} {}", verb.get_name()).trim_start().to_owned();
            if !verb.is_subcommand_required_set() {
                found.push(words.clone());
            }
            leaves(verb, &words, found);
        }
    }

    #[test]
    fn every_verb_is_in_one_group_and_has_a_lesson() {
        let command = super::super::command();
        let mut verbs = Vec::new();
        leaves(&command, "", &mut verbs);
        let mut taught: Vec<&str> = ALL.iter().map(|it| it.verb).collect();
        verbs.sort_unstable();
        taught.sort_unstable();
        assert_eq!(verbs, taught);

        let mut grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, verbs)| verbs.iter().copied())
            .collect();
        grouped.sort_unstable();
        let visible = command.get_subcommands().filter(|it| !it.is_hide_set());
        let mut visible: Vec<&str> = visible.map(Command::get_name).chain(["help"]).collect();
        visible.sort_unstable();
        assert_eq!(grouped, visible);
    }

    #[test]
    fn every_example_is_a_command_line_that_is_taken() {
        for lesson in ALL {
            assert!(!lesson.examples.is_empty(), "{} has no example", lesson.verb);
            for (_, example) in lesson.examples {
                let ours = example
                    .split(['>', '|'])
                    .find(|part| part.trim().starts_with("kekring"));
                let words = ours.unwrap().replace('\'', "");
                let words: Vec<&str> = words
                    .trim()
                    .trim_start_matches("KEKRING_ROTATION_PERIOD=1h ")
                    .split(' ')
                    .collect();
                let parsed = super::super::command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
                assert!(
                    words.join(" ").starts_with(&format!("kekring {}", lesson.verb)),
                    "{example}"
                );
            }
        }
    }
}
