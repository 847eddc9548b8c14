//! Real masters in this process, spoken to over real connections. One binary, so that it is linked once.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod single;
#[cfg(test)]
mod support;
#[cfg(test)]
mod three;
