/**
 * The packet mark of connections that a worker makes from a host's address, so that the kernel knows them should a router
 * send them back. The guard's rules are made of it; whoever connects sets it.
 */
export const OWN_MARK_BITS = 0x4000000;
