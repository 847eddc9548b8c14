//! Place of the direct Kafka source (planned): a position is partition and offset, a range is read again as it was.
