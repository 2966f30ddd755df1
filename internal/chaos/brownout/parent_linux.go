package brownout

import "syscall"

// endWithParent also ends a child that is stopped and therefore cannot see the end of its input.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
