//! Several control-plane nodes that are one cluster: what is written through each API server and read through each.

use crate::client::Api;
use crate::cluster::MINUTES;
use crate::form::Form;
use crate::guide::{Shell, type_text};
use crate::machines::{Machine, Machines};
use crate::wait::wait_for;

/// Three nodes that are one cluster.
pub struct Several<'a> {
    pub machines: &'a [Machine; 3],
    apis: Vec<Api>,
}

impl<'a> Several<'a> {
    /// With a client that may do everything, in a namespace of the suite's own.
    pub fn of(machines: &'a Machines) -> Self {
        let machines = &machines.all;
        let token = type_text(
            &machines[0],
            "kubectl create namespace suite >&2
             kubectl create serviceaccount suite --namespace suite >&2
             kubectl create clusterrolebinding suite --clusterrole=cluster-admin --serviceaccount=suite:suite >&2
             kubectl create token suite --namespace suite --duration=8h",
        );
        let api = |machine: &Machine| Api::new(&format!("https://{}:6443", machine.address), token.trim());
        let apis: Vec<Api> = machines.iter().map(api).collect();
        apis.iter().for_each(wait_until_ready);
        Self { machines, apis }
    }

    /// One node after the other.
    pub fn on_each(&self, step: impl Fn(&Machine)) {
        self.machines.iter().for_each(step);
    }

    /// All three serve this key, and have acknowledged the newest generation, as each of them sees it.
    pub fn agree_on(&self, key: &str) {
        self.on_each(|machine| {
            wait_for("the nodes to agree", MINUTES, || {
                let status = machine.json("status");
                let nodes = status["nodes"].as_array()?;
                let agree = nodes.iter().all(|node| {
                    node["serving"] == true
                        && node["active"] == key
                        && node["acknowledged"] == status["generation"]
                });
                (nodes.len() == 3 && agree && status["active"] == key).then_some(())
            });
        });
    }

    /// A Secret through each API server, read through each; their names.
    pub fn writes_and_reads(&self, name: &str) -> Vec<String> {
        let written = self.machines.iter().zip(&self.apis).map(|(machine, api)| {
            let name = format!("{name}-{}", machine.name);
            api.create_secret(&name, &name).unwrap();
            name
        });
        let names: Vec<String> = written.collect();
        self.read_through_each(&names);
        names
    }

    /// The password is the name.
    pub fn read_through_each(&self, names: &[String]) {
        for (machine, api) in self.machines.iter().zip(&self.apis) {
            for name in names {
                assert_eq!(&api.password(name).unwrap(), name, "on {}", machine.name);
            }
        }
    }

    /// Every API server is killed, and knows no key when it is back.
    pub fn reads_with_empty_caches(&self, names: &[String]) {
        for number in 0..self.machines.len() {
            self.restarting(number, |machine| {
                type_text(machine, "pkill -KILL -x kube-apiserver")
            });
        }
        self.read_through_each(names);
    }

    /// Until kube-apiserver runs anew on a node, and is ready.
    pub fn restarting(&self, number: usize, step: impl Fn(&Machine) -> String) -> String {
        let machine = &self.machines[number];
        let before = machine.api_server();
        let said = step(machine);
        wait_for("another kube-apiserver", MINUTES, || {
            let now = machine.api_server()?;
            (Some(now) != before).then_some(())
        });
        wait_until_ready(&self.apis[number]);
        said
    }

    /// Until each API server writes in this form.
    pub fn writes_as(&self, name: &str, form: &Form) {
        for (machine, api) in self.machines.iter().zip(&self.apis) {
            let mut number = 0..;
            wait_for("a Secret in its new form", MINUTES, || {
                let name = format!("{name}-{}-{}", machine.name, number.next().unwrap());
                // It looks at the plugin when it is asked for its health.
                api.health("/readyz").unwrap();
                api.create_secret(&name, &name).unwrap();
                (self.form(&name) == *form).then_some(())
            });
        }
    }

    /// How a Secret lies in etcd.
    pub fn form(&self, name: &str) -> Form {
        let mut value = self.machines[0].program(&[
            "kubectl",
            "--kubeconfig=/etc/kubernetes/admin.conf",
            "--namespace=kube-system",
            "exec",
            "etcd-cp-1",
            "--",
            "etcdctl",
            "--command-timeout=60s",
            "--cacert=/etc/kubernetes/pki/etcd/ca.crt",
            "--cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt",
            "--key=/etc/kubernetes/pki/etcd/healthcheck-client.key",
            "get",
            "--print-value-only",
            &format!("/registry/secrets/suite/{name}"),
        ]);
        assert_eq!(value.pop(), Some(b'\n'), "{name} is not in etcd");
        Form::of(&value)
    }

    /// On each node it finds nothing that does not work.
    pub fn doctor_is_content(&self) {
        self.on_each(|machine| {
            let said = type_text(machine, "kekring doctor");
            let failures = said.lines().last().unwrap();
            println!("{}: {failures}", machine.name);
            assert!(failures.starts_with("0 failures"), "{said}");
        });
    }
}

fn wait_until_ready(api: &Api) {
    wait_for("kube-apiserver to be ready", MINUTES, || {
        (api.health("/readyz").ok()?.status == 200).then_some(())
    });
}
