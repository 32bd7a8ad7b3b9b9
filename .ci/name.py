"""Prints the name of the Python that runs it: 3.14, 3.14t or pypy3.11."""

import sys
import sysconfig

prefix = "pypy" if sys.implementation.name == "pypy" else ""
suffix = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
sys.stdout.write("{}{}.{}{}".format(prefix, *sys.version_info[:2], suffix))
