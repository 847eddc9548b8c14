//! ACCEPT with everything that can stand in it: good, stale, malformed, one thing built on the other.

use tepui_proto::resources::Resources;
use tepui_proto::v1::framework_info::capability::Type as Can;
use tepui_proto::v1::offer::Operation;
use tepui_proto::v1::offer::operation::Type as Kind;
use tepui_proto::v1::resource::{ReservationInfo, reservation_info};
use tepui_proto::v1::scheduler::{Call, call};
use tepui_proto::v1::value::Scalar;
use tepui_proto::v1::{self, Resource};

use super::chance::Chance;
use super::frameworks::{Offered, filters, of};
use super::world::World;
use crate::conversion::{modernise, volume_name, without_volume};
use crate::testing::{
    create, destroy, executor_task, grow, launch, launch_group, named, operation, reserve, reserved,
    resources, shared, shrink, task, unreserve, volume,
};

/// What an ACCEPT can still use, as its framework sees it.
struct Pool {
    left: Vec<Resource>,
    role: String,
    shared: bool,
    refined: bool,
}

impl Pool {
    /// Takes at most so much of something, if there is any.
    fn bite(&mut self, amount: f64, wanted: impl Fn(&Resource) -> bool) -> Option<Resource> {
        let at = self.left.iter().position(|one| one.scalar.is_some() && wanted(one))?;
        let has = self.left[at].scalar.as_ref()?.value();
        if has <= amount {
            return Some(self.left.remove(at));
        }
        self.left[at].scalar = Some(Scalar { value: Some(has - amount) });
        Some(Resource { scalar: Some(Scalar { value: Some(amount) }), ..self.left[at].clone() })
    }

    fn take(&mut self, wanted: impl Fn(&Resource) -> bool) -> Option<Resource> {
        let at = self.left.iter().position(wanted)?;
        Some(self.left.remove(at))
    }

    fn dynamic(one: &Resource) -> bool {
        one.reservations.last().is_some_and(|last| last.r#type() == reservation_info::Type::Dynamic)
    }

    /// Reserves something for the role, upon what it is reserved for already if the framework knows how.
    fn reserve(&mut self, chance: &mut Chance) -> Option<Operation> {
        let (name, amount) = *chance.of(&[("cpus", 1.0), ("mem", 100.0), ("disk", 40.0)])?;
        let (refined, role) = (self.refined, self.role.clone());
        let deeper = |one: &Resource| {
            one.reservations.iter().all(|below| role.starts_with(&format!("{}/", below.role())))
        };
        let mut one = self.bite(amount, |one| {
            let plain = one.reservations.is_empty() || (refined && deeper(one));
            one.name() == name && one.disk.is_none() && plain
        })?;
        one.reservations.push(dynamic_for(&role));
        self.left.push(one.clone());
        Some(reserve(vec![one]))
    }

    fn unreserve(&mut self) -> Option<Operation> {
        let one = self.bite(30.0, |one| Self::dynamic(one) && volume_name(one).is_none())?;
        let mut less = one.clone();
        less.reservations.pop();
        self.left.push(less);
        Some(unreserve(vec![one]))
    }

    /// Makes a volume, by preference of what is reserved already.
    fn create(&mut self, chance: &mut Chance) -> Vec<Operation> {
        let mut list = Vec::new();
        let reserved = |one: &Resource| {
            one.name() == "disk" && !one.reservations.is_empty() && volume_name(one).is_none()
        };
        let old = self.bite(20.0, reserved);
        let disk = old.or_else(|| {
            let mut one = self.bite(20.0, |one| one.name() == "disk" && one.reservations.is_empty())?;
            one.reservations.push(dynamic_for(&self.role));
            list.push(reserve(vec![one.clone()]));
            Some(one)
        });
        let Some(disk) = disk else { return list };
        let mut one = volume(1, "", &format!("v{}", chance.pick(6)));
        one.scalar = disk.scalar;
        one.reservations = disk.reservations;
        one.allocation_info = disk.allocation_info;
        if self.shared && chance.one_in(2) {
            one = shared(one);
        }
        self.left.push(one.clone());
        list.push(create(vec![one]));
        list
    }

    fn destroy(&mut self) -> Option<Operation> {
        let one = self.take(|one| volume_name(one).is_some())?;
        self.left.push(without_volume(&one));
        Some(destroy(vec![one]))
    }

    /// The result cannot be used any more in this call.
    fn resize(&mut self, chance: &mut Chance) -> Option<Operation> {
        let one = self.take(|one| volume_name(one).is_some() && one.shared.is_none())?;
        if chance.one_in(2) {
            return Some(shrink(one, 5.0));
        }
        let same = one.reservations.clone();
        let more = self.bite(10.0, |disk| {
            disk.name() == "disk" && disk.reservations == same && volume_name(disk).is_none()
        })?;
        Some(grow(one, more))
    }

    /// What a task may ask for: processors and memory of whatever sort, sometimes ports or a volume.
    fn needs(&mut self, chance: &mut Chance) -> Vec<Resource> {
        let mut needs = Vec::new();
        needs.extend(self.bite(*chance.of(&[0.5, 1.0, 2.0]).unwrap(), |one| one.name() == "cpus"));
        needs.extend(self.bite(64.0, |one| one.name() == "mem"));
        if chance.one_in(4)
            && let Some(mut ports) = self.take(|one| one.name() == "ports")
        {
            let mut range = ports.ranges.clone().unwrap_or_default().range;
            if let Some(first) = range.first_mut() {
                first.end = first.begin;
            }
            range.truncate(1);
            ports.ranges = Some(v1::value::Ranges { range });
            needs.push(ports);
        }
        if chance.one_in(3)
            && let Some(volume) = self.take(|one| volume_name(one).is_some())
        {
            if volume.shared.is_some() {
                self.left.push(volume.clone());
            }
            needs.push(volume);
        }
        needs
    }
}

impl World {
    pub(super) fn accept(&mut self, who: usize, chance: &mut Chance) {
        let Some(stream) = self.frameworks[who].streams.last() else { return };
        let all: Vec<Offered> = stream.offers.values().cloned().collect();
        let Some(first) = chance.of(&all).cloned() else { return };
        let mut used = vec![first.clone()];
        for other in &all {
            let same = other.agent == first.agent && other.role == first.role;
            if same && other.offer.id != first.offer.id && chance.one_in(2) {
                used.push(other.clone());
            }
        }
        let mut ids: Vec<v1::OfferId> = used.iter().filter_map(|one| one.offer.id.clone()).collect();
        if chance.one_in(10) {
            ids.extend(self.spoil(who, &first, chance));
        }
        let offered: Resources = used.iter().map(|one| &one.resources).sum();
        let operations = self.operations(who, &first, &used, chance);
        let accept = call::Accept {
            offer_ids: ids.clone(),
            operations,
            filters: filters(chance.of(&[0.0, 0.0, 0.5, 3.0]).copied()),
        };
        let known = self.waiting();
        let reply = self.make(who, Call { accept: Some(accept), ..of(call::Type::Accept) });
        if reply == Some(true) {
            self.used(who, &ids);
            self.hold_new(&known, &first.role, &offered);
        }
    }

    /// An id that does not belong there.
    fn spoil(&self, who: usize, first: &Offered, chance: &mut Chance) -> Option<v1::OfferId> {
        match chance.pick(4) {
            0 => chance.of(&self.frameworks[who].stale).cloned(),
            1 => first.offer.id.clone(),
            2 => {
                let own = self.frameworks[who].streams.last()?;
                let others =
                    own.offers.values().find(|one| one.agent != first.agent || one.role != first.role);
                others.and_then(|one| one.offer.id.clone())
            }
            _ => {
                let others = self.frameworks.iter().enumerate().filter(|(other, _)| *other != who);
                let streams = others.flat_map(|(_, one)| &one.streams);
                streams.flat_map(|stream| stream.offers.values()).find_map(|one| one.offer.id.clone())
            }
        }
    }

    fn operations(
        &mut self,
        who: usize,
        first: &Offered,
        used: &[Offered],
        chance: &mut Chance,
    ) -> Vec<Operation> {
        let one = &self.frameworks[who];
        let mut pool = Pool {
            left: used.iter().flat_map(|offer| offer.offer.resources.clone()).collect(),
            role: first.role.clone(),
            shared: one.can(Can::SharedResources),
            refined: one.can(Can::ReservationRefinement),
        };
        pool.left.iter_mut().for_each(modernise);
        let mut list = Vec::new();
        for _ in 0..=chance.pick(4) {
            let operation = match chance.pick(20) {
                0..6 => vec![self.launch(who, first, &mut pool, chance)],
                6..8 => vec![self.group(who, first, &mut pool, chance)],
                8..11 => pool.reserve(chance).into_iter().collect(),
                11..13 => pool.unreserve().into_iter().collect(),
                13..16 => pool.create(chance),
                16 => pool.destroy().into_iter().collect(),
                17..19 => pool.resize(chance).into_iter().collect(),
                _ => vec![malformed(&first.role, chance)],
            };
            for operation in operation {
                let launches = matches!(operation.r#type(), Kind::Launch | Kind::LaunchGroup);
                list.push(match chance.pick(3) {
                    0 if !launches || chance.one_in(10) => {
                        named(&format!("o{}", self.tasks + chance.pick(50) as u64), operation)
                    }
                    _ => operation,
                });
            }
        }
        list
    }

    fn new_task(
        &mut self,
        who: usize,
        offer: &Offered,
        needs: Vec<Resource>,
        executor: bool,
    ) -> v1::TaskInfo {
        self.tasks += 1;
        let id = format!("t{}", self.tasks);
        let mut info = match executor {
            true => executor_task(&id, "", "x", "cpus:0.1;mem:32;disk:1"),
            false => task(&id, ""),
        };
        info.resources = needs;
        info.agent_id = offer.offer.agent_id.clone();
        self.frameworks[who].launched.push(id);
        let launched = &mut self.frameworks[who].launched;
        let surplus = launched.len().saturating_sub(30);
        launched.drain(..surplus);
        info
    }

    fn launch(&mut self, who: usize, offer: &Offered, pool: &mut Pool, chance: &mut Chance) -> Operation {
        let mut tasks = Vec::new();
        for _ in 0..=chance.pick(2) {
            let needs = pool.needs(chance);
            tasks.push(self.new_task(who, offer, needs, chance.one_in(3)));
        }
        match chance.pick(20) {
            0 => tasks[0].resources = resources("cpus:99;mem:10"),
            1 => tasks.extend(tasks.last().cloned()),
            2 => tasks[0].agent_id = Some(v1::AgentId { value: Some("elsewhere".to_owned()) }),
            _ => {}
        }
        launch(tasks)
    }

    fn group(&mut self, who: usize, offer: &Offered, pool: &mut Pool, chance: &mut Chance) -> Operation {
        let tasks = (0..=chance.pick(3)).map(|_| {
            let needs = pool.needs(chance);
            self.new_task(who, offer, needs, true)
        });
        launch_group(tasks.collect())
    }
}

fn dynamic_for(role: &str) -> ReservationInfo {
    ReservationInfo {
        r#type: Some(reservation_info::Type::Dynamic as i32),
        role: Some(role.to_owned()),
        ..Default::default()
    }
}

/// Operations that make no sense, or that ask for what is not offered.
fn malformed(role: &str, chance: &mut Chance) -> Operation {
    match chance.pick(9) {
        0 => reserve(Vec::new()),
        1 => reserve(resources("cpus:1")),
        2 => reserve(reserved("cpus:1", &["nobody"])),
        3 => unreserve(reserved("cpus:500", &[role])),
        4 => create(vec![volume(9_999, role, "huge")]),
        5 => destroy(vec![volume(20, role, "v0")]),
        6 => grow(volume(20, role, "v1"), reserved("disk:10", &[role]).remove(0)),
        7 => operation(Kind::Reserve),
        _ => operation(Kind::CreateDisk),
    }
}
