-- If nothing has changed so far, the record was finished by FinishTx. Then only its lease is left, and
-- the commit that removes it need not wait for the disk: if it is lost, Sweep removes the lease.
SELECT set_config('synchronous_commit', 'off', true) WHERE txid_current_if_assigned() IS NULL
