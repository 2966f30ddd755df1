package redistest

import "syscall"

// endWithParent makes a server end when this process does, even by a panic or by SIGKILL.
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
