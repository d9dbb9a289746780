"""What outlives a dispatcher: records in a bucket, leases, ledgers, the health of devices, measurements."""
