"""The controller process: the only place where kopf lives."""
