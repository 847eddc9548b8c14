//! Scenarios of a subscription, told as inputs and actions.
