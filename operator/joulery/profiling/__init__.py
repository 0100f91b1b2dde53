"""`joulery profile`: EnergyProfiles made from measured points, judged, shown and drawn."""
