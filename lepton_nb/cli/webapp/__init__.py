"""`lepton-nb app`: a notebook as a web app, served by Voilà with settings and manners of ours."""
