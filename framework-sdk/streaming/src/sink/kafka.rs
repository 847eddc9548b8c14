//! Place of the transactional Kafka sink (planned): one stable transactional id per slot, the batch number in the transaction.
