"""The words of Joulery as frozen dataclasses: pure, standard library only."""
